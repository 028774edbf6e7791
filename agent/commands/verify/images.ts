/** Images of matched targets, where they are to be looked at. */
import { OtaError } from '../../errors.ts';
import type { TrustedTarget } from '../../uptane/plan.ts';
import { isUrl } from './option-values.ts';
import type { VerifyOptions } from './options.ts';
import type { Sources } from './sources.ts';

export interface ImageSeen {
  readonly filename: string;
  readonly status: 'verified' | 'absent' | 'not-checked';
}

interface ImageRun {
  readonly targets: readonly TrustedTarget[];
  /** What was seen of each is added here, up to the one that is refused. */
  readonly images: ImageSeen[];
  /** Called before an image is looked at. */
  readonly begins: (file: string) => void;
}

/**
 * Checks images: in a directory those that are there, over the network only on demand.
 *
 * An image may be gigabytes, so a URL alone is no reason to download it.
 *
 * @throws OtaError DOWNLOAD_FAILED if every image is demanded and one is not there
 * @throws OtaError IMAGE_TOO_LARGE, IMAGE_TRUNCATED, IMAGE_HASH_MISMATCH and those of `Served`
 */
export async function verifyImages(
  options: VerifyOptions,
  { image: served }: Sources,
  { targets, images, begins }: ImageRun,
): Promise<void> {
  const { images: wanted } = options;
  const isChecked = wanted === 'all' || (wanted === 'present' && !isUrl(options.sources.image));
  const seen = new Set<string>();
  for (const target of targets) {
    const { filename } = target;
    if (seen.has(filename)) continue;
    seen.add(filename);
    const file = `targets/${target.imageFile ?? filename}`;
    begins(file);
    const isThere = isChecked && (await served.verifyImage(target));
    if (!isThere && wanted === 'all') {
      const url = served.where(file);
      throw new OtaError('DOWNLOAD_FAILED', { filename, url, cause: 'no such file' });
    }
    const status = isThere ? 'verified' : isChecked ? 'absent' : 'not-checked';
    images.push({ filename, status });
  }
}
