/** Bundles as a vendor makes them, with RAUC's own program and a key of this test run. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Vendor {
  readonly certificate: string;
  readonly key: string;
}

/** A self-signed certificate, which is its own keyring. */
export function makeVendor(directory: string, name: string): Vendor {
  const vendor = {
    certificate: join(directory, `${name}.pem`),
    key: join(directory, `${name}.key`),
  };
  const out = ['-keyout', vendor.key, '-out', vendor.certificate];
  const what = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const subject = ['-subj', `/CN=${name}`, '-days', '30'];
  execFileSync('openssl', ['req', '-x509', ...what, ...out, ...subject], { stdio: 'ignore' });
  return vendor;
}

export interface BundleParts {
  /** Of the root file system's slot. */
  readonly image: Buffer;
  readonly compatible?: string;
  readonly slotClass?: string;
  /** Further arguments of mksquashfs. */
  readonly packing?: string;
}

export const COMPATIBLE = 'test-board';

/**
 * After the image is written, and before RAUC notes that, the bundle's hook waits for as long as the
 * file named in `OTA_TEST_HOLD` is there, and touches `….held`.
 */
const HOOK = `#!/bin/sh
[ -e "$OTA_TEST_HOLD" ] || exit 0
: >"$OTA_TEST_HOLD.held"
while [ -e "$OTA_TEST_HOLD" ]; do sleep 0.02; done
`;

/** @returns the bytes of a signed bundle in format `plain`, which needs no dm-verity */
export function makeBundle(directory: string, vendor: Vendor, parts: BundleParts): Buffer {
  const { image, compatible = COMPATIBLE, slotClass = 'rootfs' } = parts;
  const content = join(directory, 'bundle-content');
  const bundle = join(directory, 'made.raucb');
  rmSync(content, { recursive: true, force: true });
  rmSync(bundle, { force: true });
  mkdirSync(content);
  writeFileSync(join(content, 'rootfs.img'), image);
  writeFileSync(join(content, 'hook'), HOOK);
  chmodSync(join(content, 'hook'), 0o755);
  writeFileSync(
    join(content, 'manifest.raucm'),
    `[update]\ncompatible=${compatible}\nversion=2\n[bundle]\nformat=plain\n[hooks]\nfilename=hook\n[image.${slotClass}]\nfilename=rootfs.img\nhooks=post-install\n`,
  );
  const signed = ['--cert', vendor.certificate, '--key', vendor.key];
  const packing = parts.packing === undefined ? [] : [`--mksquashfs-args=${parts.packing}`];
  execFileSync('rauc', [...signed, 'bundle', ...packing, content, bundle], { stdio: 'ignore' });
  return readFileSync(bundle);
}
