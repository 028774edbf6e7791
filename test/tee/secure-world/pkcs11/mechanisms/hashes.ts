/** Hash functions by what they are called here and in OpenSSL. Data only. */
import { CKM } from '../abi-mechanisms.ts';

export interface Hash {
  /** OpenSSL's name. */
  readonly name: string;
  readonly bytes: number;
  /** CKM of the digest itself. */
  readonly mechanism: number;
  /** CK_RSA_PKCS_MGF_TYPE of MGF1 with this hash; 0 for MD5, which has none. */
  readonly mgf: number;
}

export const MD5: Hash = { name: 'md5', bytes: 16, mechanism: CKM.MD5, mgf: 0 };
export const SHA1: Hash = { name: 'sha1', bytes: 20, mechanism: CKM.SHA_1, mgf: 1 };
export const SHA224: Hash = { name: 'sha224', bytes: 28, mechanism: CKM.SHA224, mgf: 5 };
export const SHA256: Hash = { name: 'sha256', bytes: 32, mechanism: CKM.SHA256, mgf: 2 };
export const SHA384: Hash = { name: 'sha384', bytes: 48, mechanism: CKM.SHA384, mgf: 3 };
export const SHA512: Hash = { name: 'sha512', bytes: 64, mechanism: CKM.SHA512, mgf: 4 };

export const HASHES: readonly Hash[] = [MD5, SHA1, SHA224, SHA256, SHA384, SHA512];
