/** The device CA: turns certificate requests into client certificates, remembers and revokes them. */
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Refusal } from '../failure.ts';
import { isDeviceId } from '../state/devices.ts';
import { readState, writeState } from '../state/state-file.ts';
import { createSubordinate, identityAt, inScratch, type Identity } from './authority.ts';
import { openssl, tryOpenssl } from './openssl.ts';

export interface IssuedCertificate {
  /** Hex, upper case, as openssl prints it. */
  readonly serial: string;
  readonly deviceId: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly pem: string;
  readonly revokedAt?: string;
}

export interface CertificateDates {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** A request whose signature is right and whose subject is a device id. */
export interface CheckedRequest {
  readonly deviceId: string;
  readonly pem: string;
}

const CONFIG = `
[ca]
default_ca = device_ca
[device_ca]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = common_name_only
unique_subject = no
x509_extensions = device
copy_extensions = none
[common_name_only]
commonName = supplied
[device]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
`;
const CLOCK_SKEW_MS = 5 * 60_000;
const CRL_DAYS = '3650';

export class DeviceCa {
  readonly identity: Identity;
  /** Below it, and issues in its place once {@link issueBelow} was called. */
  readonly #issuing: Identity;
  #issuesBelow = false;
  readonly #registerPath: string;
  #certificates: readonly IssuedCertificate[];

  constructor(directory: string) {
    this.identity = identityAt(directory, 'device-ca');
    this.#issuing = identityAt(directory, 'issuing-ca');
    this.#registerPath = join(directory, 'certificates.json');
    this.#certificates = (readState(this.#registerPath) ?? []) as readonly IssuedCertificate[];
  }

  /** Another process has issued or revoked. */
  reload(): void {
    this.#certificates = (readState(this.#registerPath) ?? []) as readonly IssuedCertificate[];
  }

  get certificates(): readonly IssuedCertificate[] {
    return this.#certificates;
  }

  isRevoked(serial: string): boolean {
    return this.#certificates.some((one) => one.serial === serial && one.revokedAt !== undefined);
  }

  /** From now on another CA certifies devices, which the gateway knows by the device CA alone. */
  async issueBelow(on: boolean): Promise<void> {
    if (on) await createSubordinate(this.#issuing, this.identity, 'ota-agent test issuing CA');
    this.#issuesBelow = on;
  }

  /** PEM of the CAs between a device and the root, the root left out. */
  between(): readonly string[] {
    return this.#issuesBelow ? [readFileSync(this.#issuing.certificatePath, 'utf8')] : [];
  }

  /** PEM of all CAs above a device. */
  chain(): readonly string[] {
    return [...this.between(), readFileSync(this.identity.certificatePath, 'utf8')];
  }

  /** Certifies a request: CN only, client authentication only, a random serial number. */
  async issue(request: CheckedRequest, dates: CertificateDates): Promise<IssuedCertificate> {
    const pem = await inScratch(async (cwd) => {
      await writeDatabase(cwd, []);
      await writeFile(join(cwd, 'request.pem'), request.pem);
      const when = ['-startdate', asn1Time(dates.notBefore), '-enddate', asn1Time(dates.notAfter)];
      const files = ['-in', 'request.pem', '-out', 'cert.pem', '-notext'];
      await openssl(['ca', '-batch', ...caArguments(this.#issuer()), ...when, ...files], { cwd });
      return readFile(join(cwd, 'cert.pem'), 'utf8');
    });
    const { serialNumber: serial, validFrom, validTo } = new X509Certificate(pem);
    const issued: IssuedCertificate = {
      serial,
      deviceId: request.deviceId,
      notBefore: new Date(validFrom).toISOString(),
      notAfter: new Date(validTo).toISOString(),
      pem,
    };
    this.#save([...this.#certificates, issued]);
    return issued;
  }

  /** @throws Refusal 404 `certificate_not_found` */
  revoke(serial: string): IssuedCertificate {
    const found = this.#certificates.find((one) => one.serial === serial);
    if (found === undefined) {
      throw new Refusal(
        404,
        'certificate_not_found',
        `no certificate with serial ${serial} was issued`,
      );
    }
    const revoked = { ...found, revokedAt: found.revokedAt ?? new Date().toISOString() };
    this.#save(this.#certificates.map((one) => (one.serial === serial ? revoked : one)));
    return revoked;
  }

  /** The revocation lists in PEM, for the TLS engine: one of each CA in a chain. */
  async revocationLists(): Promise<Buffer[]> {
    // Devices that the CA below has certified go on, also when it certifies no more.
    const hasIssuedBelow = existsSync(this.#issuing.certificatePath);
    const issuers = hasIssuedBelow ? [this.identity, this.#issuing] : [this.identity];
    return Promise.all(issuers.map((issuer) => this.#revocationList(issuer)));
  }

  async #revocationList(issuer: Identity): Promise<Buffer> {
    return inScratch(async (cwd) => {
      await writeDatabase(cwd, this.#certificates);
      const out = ['-gencrl', '-crldays', CRL_DAYS, '-out', 'crl.pem'];
      await openssl(['ca', ...caArguments(issuer), ...out], { cwd });
      return readFile(join(cwd, 'crl.pem'));
    });
  }

  #issuer(): Identity {
    return this.#issuesBelow ? this.#issuing : this.identity;
  }

  #save(certificates: readonly IssuedCertificate[]): void {
    writeState(this.#registerPath, certificates);
    this.#certificates = certificates;
  }
}

function caArguments({ certificatePath, keyPath }: Identity): readonly string[] {
  return ['-config', 'ca.conf', '-cert', certificatePath, '-keyfile', keyPath];
}

/** From a little before now, for devices whose clock is a little behind. */
export function defaultDates(days: number): CertificateDates {
  const nowMs = Date.now();
  return {
    notBefore: new Date(nowMs - CLOCK_SKEW_MS),
    notAfter: new Date(nowMs + days * 86_400_000),
  };
}

/**
 * Reads a PKCS#10 request and proves that its sender holds the private key.
 *
 * @param request - DER, or PEM
 * @throws Refusal 400 `csr_malformed`, `csr_signature`, `csr_subject`
 */
export async function checkRequest(request: Uint8Array): Promise<CheckedRequest> {
  const form = Buffer.from(request).includes('-----BEGIN') ? 'PEM' : 'DER';
  const args = ['req', '-inform', form, '-verify', '-subject', '-nameopt', 'multiline,utf8'];
  const { exitCode, stdout, stderr } = await tryOpenssl(args, { input: request });
  if (stderr.includes('verify failure')) {
    throw new Refusal(
      400,
      'csr_signature',
      'the request is not signed by the key it asks to certify',
    );
  }
  if (exitCode !== 0 || !stderr.includes('verify OK')) {
    throw new Refusal(400, 'csr_malformed', 'the body is not a PKCS#10 certificate request');
  }
  const names = [...stdout.toString().matchAll(/^ *commonName *= (?<name>.*)$/gmu)];
  const [deviceId, ...more] = names.map((match) => match.groups?.['name'] ?? '');
  if (deviceId === undefined || more.length > 0 || !isDeviceId(deviceId)) {
    throw new Refusal(
      400,
      'csr_subject',
      'the subject needs one CN, the device id: 1 to 64 of A-Z a-z 0-9 . _ : @ -',
    );
  }
  return { deviceId, pem: stdout.toString() };
}

/** In openssl's `index.txt` the date of a revocation has a year of two digits. */
async function writeDatabase(
  cwd: string,
  certificates: readonly IssuedCertificate[],
): Promise<void> {
  const rows = certificates.flatMap(({ serial, deviceId, notAfter, revokedAt }) => {
    if (revokedAt === undefined) return [];
    const dates = [asn1Time(new Date(notAfter)), asn1Time(new Date(revokedAt)).slice(2)];
    return [['R', ...dates, serial, 'unknown', `/CN=${deviceId}`].join('\t')];
  });
  await writeFile(join(cwd, 'ca.conf'), CONFIG);
  await writeFile(join(cwd, 'index.txt'), rows.map((row) => `${row}\n`).join(''));
}

/** `YYYYMMDDHHMMSSZ`. */
function asn1Time(date: Date): string {
  return `${date.toISOString().slice(0, 19).replaceAll(/[-:T]/gu, '')}Z`;
}
