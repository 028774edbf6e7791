/** What an erring or hostile Director can say of encrypted images. */
import type { FaultRow } from './row.ts';

export const ENCRYPTION_FAULTS = {
  'encryption-other-key': {
    stages: ['director-metadata'],
    attack: 'arbitrary software',
    what: 'encrypted images come with the key of other content, wrapped for the right device and image',
    code: 'IMAGE_DECRYPTION_FAILED',
    parameters: {},
    raisesVersions: true,
  },
  'encryption-other-device': {
    stages: ['director-metadata'],
    attack: 'mix-and-match',
    what: 'the key of encrypted images is wrapped for another device',
    code: 'IMAGE_DECRYPTION_FAILED',
    parameters: {},
    raisesVersions: true,
  },
  'encryption-other-image': {
    stages: ['director-metadata'],
    attack: 'mix-and-match',
    what: 'the key of encrypted images is wrapped for the right device, but for another image',
    code: 'IMAGE_DECRYPTION_FAILED',
    parameters: {},
    raisesVersions: true,
  },
  'encryption-chunk-flipped': {
    stages: ['director-metadata'],
    attack: 'arbitrary software',
    what: 'one bit of chunk `chunk`, counted from 0, of encrypted images is wrong, and the hashes are signed so',
    code: 'IMAGE_DECRYPTION_FAILED',
    parameters: { chunk: 0 },
    raisesVersions: true,
  },
  'encryption-chunks-swapped': {
    stages: ['director-metadata'],
    attack: 'arbitrary software',
    what: 'chunk `chunk` of encrypted images and the one after it are exchanged, and the hashes are signed so',
    code: 'IMAGE_DECRYPTION_FAILED',
    parameters: { chunk: 0 },
    raisesVersions: true,
  },
  'encryption-truncated': {
    stages: ['director-metadata'],
    attack: 'arbitrary software',
    what: 'encrypted images end before their last chunk, and length and hashes are signed so',
    code: 'METADATA_MALFORMED',
    parameters: {},
    raisesVersions: true,
  },
  'encryption-appended': {
    stages: ['director-metadata'],
    attack: 'arbitrary software',
    what: 'chunk `chunk` of encrypted images comes once more at their end, and length and hashes are signed so',
    code: 'METADATA_MALFORMED',
    parameters: { chunk: 0 },
    raisesVersions: true,
  },
} as const satisfies Readonly<Record<string, FaultRow>>;
