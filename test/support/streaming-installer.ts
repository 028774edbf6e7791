/**
 * A streaming installer on plain files, for tests of the cycle: two slots in a directory and a link to
 * the one that runs. It passes the contract of installers; with `boots`, a new image runs after a boot.
 */
import {
  existsSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { OtaError } from '../../agent/errors.ts';
import { demandKind } from '../../agent/io/installers/guard.ts';
import { ImageDigest, readBytes, verifyImageAt, writeAt } from '../../agent/io/image-file.ts';
import { limitBytes } from '../../agent/io/limit-bytes.ts';
import { guarded } from '../../agent/io/installers/guard.ts';
import type { OpenImage, Progress, StreamingInstaller } from '../../agent/ports.ts';
import type { TrustedTarget } from '../../agent/uptane/plan.ts';

/** What a test makes of it. */
export interface Whims {
  needsReboot?: boolean;
  /** Thrown by the step of that name. */
  fails?: 'check' | 'activate' | 'rollBack' | 'confirm' | undefined;
  /** Told of every step. */
  readonly said?: string[];
}

export class StreamingSlots implements StreamingInstaller {
  readonly kind = 'streaming-slots';
  readonly takes = 'stream';
  readonly #directory: string;
  readonly #whims: Whims;

  constructor(directory: string, whims: Whims = {}) {
    this.#directory = directory;
    this.#whims = whims;
    if (existsSync(this.#at('running'))) return;
    writeFileSync(this.#at('factory'), 'factory');
    this.#choose('running', 'factory');
  }

  get needsReboot(): boolean {
    return this.#whims.needsReboot === true;
  }

  /** The content that runs; what was chosen runs from the next boot on. */
  running(): string {
    return readFileSync(this.#at('running'), 'utf8');
  }

  boot(): void {
    if (existsSync(this.#at('chosen'))) renameSync(this.#at('chosen'), this.#at('running'));
  }

  async check(target: TrustedTarget): Promise<void> {
    demandKind('bytes', target, this.kind);
    await this.#step('check', target.ecu, () => undefined);
  }

  async receive(target: TrustedTarget, openImage: OpenImage, progress: Progress): Promise<void> {
    const handle = await open(this.#at(this.#spare()), 'a+');
    try {
      // The beginning of another image is none of this one.
      const name = [...target.hashes.values()].join(' ');
      const note = this.#at(`${this.#spare()}.of`);
      if (!existsSync(note) || readFileSync(note, 'utf8') !== name) await handle.truncate(0);
      writeFileSync(note, name);
      const digest = new ImageDigest(target);
      const { size } = await handle.stat();
      for await (const chunk of readBytes(handle, size)) digest.update(chunk);
      const left = target.lengthBytes - digest.lengthBytes;
      const body = openImage(digest.lengthBytes);
      for await (const chunk of limitBytes(body, Math.max(left, 0), target.filename)) {
        await writeAt(handle, chunk, digest.lengthBytes);
        digest.update(chunk);
        progress(digest.lengthBytes, target.lengthBytes);
      }
      await handle.sync();
      digest.verify();
    } catch (error) {
      // Only a way that broke leaves a beginning that is worth something.
      if (error instanceof OtaError && error.code !== 'DOWNLOAD_FAILED') await handle.truncate(0);
      throw error;
    } finally {
      await handle.close();
    }
  }

  async prove(target: TrustedTarget, progress: Progress): Promise<void> {
    this.#whims.said?.push(`prove ${target.ecu}`);
    await guarded({ installer: this.kind, ecu: target.ecu }, () =>
      verifyImageAt(this.#at(this.#spare()), target),
    );
    progress(target.lengthBytes, target.lengthBytes);
  }

  async activate(target: TrustedTarget): Promise<void> {
    await this.#step('activate', target.ecu, async () => {
      if (await this.booted(target)) return;
      await verifyImageAt(this.#at(this.#spare()), target);
      this.#choose(this.needsReboot ? 'chosen' : 'running', this.#spare());
    });
  }

  async booted(target: TrustedTarget): Promise<boolean> {
    const path = this.#at(readlinkSync(this.#at('running')));
    const lengthBytes = (await stat(path)).size;
    if (lengthBytes !== target.lengthBytes) return false;
    return verifyImageAt(path, target).then(
      () => true,
      () => false,
    );
  }

  async confirm({ ecu }: TrustedTarget): Promise<void> {
    await this.#step('confirm', ecu, () => undefined);
  }

  async rollBack(target: TrustedTarget): Promise<void> {
    await this.#step('rollBack', target.ecu, async () => {
      rmSync(this.#at('chosen'), { force: true });
      if (!(await this.booted(target))) return;
      const spare = this.#spare();
      const before = existsSync(this.#at(spare)) ? spare : 'factory';
      this.#choose(this.needsReboot ? 'chosen' : 'running', before);
    });
  }

  async describe(): Promise<Readonly<Record<string, string>>> {
    return Promise.resolve({ running: readlinkSync(this.#at('running')) });
  }

  async #step(
    name: NonNullable<Whims['fails']>,
    ecu: string,
    act: () => Promise<void> | undefined,
  ): Promise<void> {
    this.#whims.said?.push(`${name} ${ecu}`);
    if (this.#whims.fails === name) {
      throw new OtaError('INSTALL_FAILED', {
        installer: this.kind,
        ecu,
        cause: `no ${name} today`,
      });
    }
    await guarded({ installer: this.kind, ecu }, async () => act());
  }

  #spare(): 'a' | 'b' {
    return readlinkSync(this.#at('running')) === 'a' ? 'b' : 'a';
  }

  #choose(link: 'running' | 'chosen', slot: string): void {
    rmSync(this.#at('next'), { force: true });
    symlinkSync(slot, this.#at('next'));
    renameSync(this.#at('next'), this.#at(link));
  }

  #at(name: string): string {
    return join(this.#directory, name);
  }
}
