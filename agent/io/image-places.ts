/** Where an image may be had: mirrors in order, then the repository. Hashes decide what they serve. */
import { downloadOf, type Target, type TrustedTarget } from '../uptane/plan.ts';

export interface ImageSource {
  /** Bases of image names, tried in order before the repository. */
  readonly mirrors: readonly string[];
  /** `undefined`: as fast as it comes. */
  readonly maxBytesPerSecond: number | undefined;
  /** Told once of a mirror that fails, and again after it has worked. */
  readonly failing: (error: Error) => void;
}

/** One class per process: what a mirror did is forgotten with it. */
export class ImagePlaces {
  readonly #source: ImageSource;
  /** By image: who served bytes of it, and who may have served wrong ones. */
  readonly #servers = new Map<string, Set<string>>();
  readonly #distrusted = new Map<string, Set<string>>();
  readonly #failing = new Set<string>();

  constructor(source: ImageSource) {
    this.#source = source;
  }

  /** @param targetsUrl - base of the repository's images */
  of(target: TrustedTarget, targetsUrl: string): readonly string[] {
    const { imageFile, filename, uri } = downloadOf(target);
    const path = encodePath(imageFile ?? filename);
    const repository = uri ?? `${targetsUrl}/${path}`;
    // Cipher text is for one device: what a mirror has under this name is the image itself.
    if (target.encrypted !== undefined) return [repository];
    const bad = this.#distrusted.get(imageKey(target));
    const mirrors = this.#source.mirrors
      .filter((base) => bad?.has(base) !== true)
      .map((base) => `${base.replace(/\/+$/u, '')}/${path}`);
    return [...mirrors, repository];
  }

  served(target: Target, url: string): void {
    const base = this.#baseOf(url);
    if (base === undefined) return;
    const name = imageKey(target);
    this.#servers.set(name, (this.#servers.get(name) ?? new Set()).add(base));
    this.#failing.delete(base);
  }

  failed(url: string, error: Error): void {
    const base = this.#baseOf(url);
    if (base === undefined || this.#failing.has(base)) return;
    this.#failing.add(base);
    this.#source.failing(error);
  }

  /** Wrong bytes cannot be told apart: every mirror that served some of this image is out for it. */
  distrust(target: Target): void {
    const name = imageKey(target);
    const bad = this.#distrusted.get(name) ?? new Set();
    for (const base of this.#servers.get(name) ?? []) bad.add(base);
    this.#distrusted.set(name, bad);
    this.#servers.delete(name);
  }

  /** `undefined` for the repository. */
  #baseOf(url: string): string | undefined {
    return this.#source.mirrors.find((base) => url.startsWith(base));
  }
}

function imageKey({ hashes }: Target): string {
  return [...hashes.values()].join(' ');
}

function encodePath(filename: string): string {
  return filename.split('/').map(encodeURIComponent).join('/');
}
