/** What the tests look at, and break, in a token between two runs of provisioning. */
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';

import graphene from 'graphene-pk11';

import { readCertificates, storeCertificate } from '../../agent/io/token/certificate.ts';
import { CKO, TLS_KEY, UPTANE_KEY } from '../../agent/io/token/cryptoki.ts';
import { importKey } from '../../agent/io/token/import-key.ts';
import { isImported } from '../../agent/io/token/key-attributes.ts';
import { openModule } from '../../agent/io/token/module.ts';
import { openToken, type TokenSettings } from '../../agent/io/token/token.ts';
import { certificateParts } from '../../provisioning/certificate.ts';
import { USER_PIN } from '../support/token-world.ts';

interface Args {
  readonly settings: TokenSettings;
}

export interface Census {
  /** Private and public objects, by label. */
  readonly keys: Readonly<Record<string, readonly [number, number]>>;
  readonly allPrivateKeys: number;
  readonly certificates: number;
}

export function census({ settings }: Args): Census {
  const token = openToken(settings, 'read-only', process.env);
  return token.run('count', (session) => {
    const count = (template: graphene.ITemplate): number => session.find(template).length;
    const pair = (label: string): [number, number] => [
      count({ class: CKO.PRIVATE_KEY, label }),
      count({ class: CKO.PUBLIC_KEY, label }),
    ];
    return {
      keys: { tls: pair(TLS_KEY.label), uptane: pair(UPTANE_KEY.label) },
      allPrivateKeys: count({ class: CKO.PRIVATE_KEY }),
      certificates: count({ class: CKO.CERTIFICATE }),
    };
  });
}

/** Labels of initialised tokens. */
export function labels({ settings }: Args): string[] {
  const slots = openModule(settings).getSlots(true);
  return Array.from({ length: slots.length }, (_, index) => slots.items(index).getToken())
    .filter(({ flags }) => (flags & graphene.TokenFlag.TOKEN_INITIALIZED) !== 0)
    .map(({ label }) => label);
}

export function publicKeyOf({ settings }: Args): string[] {
  return readCertificates(openToken(settings, 'read-only', process.env)).map((der) =>
    der.toString('base64'),
  );
}

/** Leaves half a pair, as a power cut between two objects does. */
export function loseObjects({
  settings,
  label,
  kind,
}: Args & { label: string; kind: number }): void {
  withWriting(settings, (session) => session.destroy({ class: kind, label }));
}

/** The same certificate twice, and one that was cut off. */
export function spoilCertificates({ settings }: Args): number {
  const token = openToken(settings, 'read-write', process.env);
  const [der = Buffer.alloc(0)] = readCertificates(token);
  const parts = certificateParts(der);
  const template = {
    class: CKO.CERTIFICATE,
    certType: graphene.CertificateType.X_509,
    token: true,
    private: false,
    label: TLS_KEY.label,
    subject: Buffer.from(parts.subject),
  };
  withWriting(settings, (session) => {
    session.create({ ...template, value: der });
    session.create({ ...template, value: der.subarray(0, 40) });
  });
  return readCertificates(token).length;
}

export function replaceCertificate({ settings, pem }: Args & { pem: string }): void {
  storeCertificate(openToken(settings, 'read-write', process.env), certificateParts(pem));
}

/** As if it had expired, with its chain left behind. */
export function loseCertificate({ settings }: Args): void {
  withWriting(settings, (session) =>
    session.destroy({ class: CKO.CERTIFICATE, label: TLS_KEY.label }),
  );
}

/** Key and certificate that a chip maker has put there, under a label of his. */
export function bearIdentity({
  settings,
  label,
  keyPath,
  certificatePath,
}: Args & { label: string; keyPath: string; certificatePath: string }): void {
  const token = openToken(settings, 'read-write', process.env);
  importKey(token, { label, id: 0x11 }, createPrivateKey(readFileSync(keyPath)));
  const parts = certificateParts(readFileSync(certificatePath, 'utf8'));
  withWriting(settings, (session) => {
    session.create({
      class: CKO.CERTIFICATE,
      certType: graphene.CertificateType.X_509,
      token: true,
      private: false,
      label,
      subject: Buffer.from(parts.subject),
      value: Buffer.from(parts.der),
    });
  });
}

export function isTlsKeyImported({ settings }: Args): boolean {
  return isImported(openToken(settings, 'read-only', process.env), TLS_KEY);
}

function withWriting(settings: TokenSettings, act: (session: graphene.Session) => void): void {
  const { SERIAL_SESSION, RW_SESSION } = graphene.SessionFlag;
  const slots = openModule(settings).getSlots(true);
  const slot = Array.from({ length: slots.length }, (_, index) => slots.items(index)).find(
    (one) => one.getToken().label === 'ota-agent',
  );
  if (slot === undefined) throw new Error('no token');
  const session = slot.open(SERIAL_SESSION | RW_SESSION);
  try {
    session.login(USER_PIN);
  } catch (error) {
    if (!(error instanceof Error) || error.message !== 'CKR_USER_ALREADY_LOGGED_IN') throw error;
  }
  act(session);
  session.close();
}
