/** Signed .swu files, made with the tools that everybody makes them with. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface SwuKey {
  readonly keyPath: string;
  readonly certificatePath: string;
}

export interface SwuOptions {
  /** Where each mode writes. */
  readonly devices: Readonly<Record<string, string>>;
  readonly set?: string;
  readonly hardware?: string;
  /** Of the image. */
  readonly attributes?: string;
  /** Beside the images of each mode. */
  readonly also?: string;
  readonly description?: string;
}

export function makeSwuKey(directory: string, name: string): SwuKey {
  const keyPath = join(directory, `${name}.key.pem`);
  const certificatePath = join(directory, `${name}.cert.pem`);
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', `/CN=${name}`]
      .concat(['-addext', 'extendedKeyUsage=emailProtection'])
      .concat(['-keyout', keyPath, '-out', certificatePath]),
    { stdio: 'ignore' },
  );
  return { keyPath, certificatePath };
}

/** A .swu with one image, which each mode writes to its own device. */
export function makeSwu(
  directory: string,
  image: Uint8Array,
  key: SwuKey,
  options: SwuOptions,
): Buffer {
  const work = join(directory, 'swu');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work);
  writeFileSync(join(work, 'rootfs.img'), image);
  writeFileSync(join(work, 'sw-description'), options.description ?? describe(image, options));
  const sign = ['cms', '-sign', '-in', 'sw-description', '-out', 'sw-description.sig'];
  const by = ['-signer', key.certificatePath, '-inkey', key.keyPath];
  execFileSync('openssl', [...sign, ...by, '-outform', 'DER', '-nosmimecap', '-binary'], {
    cwd: work,
  });
  const input = 'sw-description\nsw-description.sig\nrootfs.img\n';
  execFileSync('cpio', ['--quiet', '-oL', '-H', 'crc', '-O', 'update.swu'], { cwd: work, input });
  return readFileSync(join(work, 'update.swu'));
}

/** sw-description in libconfig. */
export function describe(image: Uint8Array, options: SwuOptions): string {
  const sha256 = createHash('sha256').update(image).digest('hex');
  const { set = 'stable', hardware = '1.0', attributes = '', also = '' } = options;
  const modes = Object.entries(options.devices).map(
    ([mode, device]) => `
    ${mode} = {
      images: ( { filename = "rootfs.img"; type = "raw"; device = "${device}"; sha256 = "${sha256}"; ${attributes} } );
      ${also}
    };`,
  );
  return `software = {
  version = "1.0.0"; # of no meaning to the agent
  hardware-compatibility: [ "${hardware}" ];
  ${set} = {${modes.join('')}
  };
};
`;
}
