/**
 * The Web Crypto type names that @peculiar/x509 and @peculiar/webcrypto expect to be global.
 *
 * Node has these types under `node:crypto`; the alternative is TypeScript's `dom` library, which would
 * make `window` and `document` look usable everywhere.
 */
import type { webcrypto } from 'node:crypto';

declare global {
  type Algorithm = webcrypto.Algorithm;
  type AlgorithmIdentifier = webcrypto.AlgorithmIdentifier;
  type BufferSource = webcrypto.BufferSource;
  type Crypto = webcrypto.Crypto;
  type CryptoKey = webcrypto.CryptoKey;
  type CryptoKeyPair = webcrypto.CryptoKeyPair;
  type EcKeyGenParams = webcrypto.EcKeyGenParams;
  type EcKeyImportParams = webcrypto.EcKeyImportParams;
  type EcdsaParams = webcrypto.EcdsaParams;
  type KeyAlgorithm = webcrypto.KeyAlgorithm;
  type KeyType = webcrypto.KeyType;
  type KeyUsage = webcrypto.KeyUsage;
  type RsaHashedImportParams = webcrypto.RsaHashedImportParams;
  type SubtleCrypto = webcrypto.SubtleCrypto;
}
