/** Two repositories and a device in memory, for scenarios of several cycles. */
import assert from 'node:assert/strict';

import type { FailureCode, FailureDetails, Repo } from '../../agent/errors.ts';
import type { Ecu } from '../../agent/uptane/inventory.ts';
import { parseInstant } from '../../agent/uptane/time.ts';
import type { Answer, Verdict } from '../../agent/uptane/verify.ts';
import { fileInfo, type Body } from './build-metadata.ts';
import { MemoryDevice } from './converse.ts';
import { throwsCode } from './expect-code.ts';
import { TestRepository } from './test-repository.ts';

export const PRIMARY: Ecu = { serial: 'primary-1', hardwareId: 'hw-primary' };
export const SECONDARY: Ecu = { serial: 'secondary-1', hardwareId: 'hw-secondary' };
export const NOW = parseInstant('2026-11-21T00:00:00Z', 'now');

export class World {
  readonly director = new TestRepository();
  readonly image = new TestRepository();
  readonly device: MemoryDevice;

  constructor(ecus: readonly Ecu[] = [PRIMARY]) {
    const root = '1.root.json';
    const roots = { director: this.director.file(root), image: this.image.file(root) };
    this.device = new MemoryDevice(roots, ecus, NOW);
  }

  /** Puts an image into both repositories and publishes them. */
  release(filename: string, ecus: readonly Ecu[] = [PRIMARY], custom: Body = {}): void {
    this.assign(filename, ecus);
    this.image.targets[filename] = imageTarget(filename, ecus, custom);
    this.publish();
  }

  /** What the Director wants; each ECU has one image. */
  assign(filename: string, ecus: readonly Ecu[] = [PRIMARY], content = filename): void {
    this.director.targets = Object.fromEntries([
      ...Object.entries(this.director.targets).filter(([, target]) => !names(target, ecus)),
      [filename, directorTarget(content, ecus)],
    ]);
  }

  publish(): void {
    this.director.publish();
    this.image.publish();
  }

  /** A Director made for the reference client, which asks for Root and Targets only. */
  withoutDirectorTimestamp(): void {
    this.director.served.delete('timestamp.json');
    this.director.served.delete('snapshot.json');
  }

  readonly serve = (repo: Repo, file: string): Answer => this[repo].served.get(file);

  update(): Verdict {
    return this.device.update(this.serve);
  }

  /**
   * Expects a refusal with this code and these details.
   *
   * @param kept - what may have been kept on the way, in order; trusted state is otherwise unchanged
   */
  refuses<C extends FailureCode>(
    code: C,
    details: FailureDetails[C],
    kept: readonly string[] = [],
  ): void {
    const before = new Map(this.device.trusted);
    throwsCode(() => this.device.verify(this.serve), code, details);
    assert.deepEqual(this.device.kept, kept);
    const others = (state: ReadonlyMap<string, Uint8Array>): unknown =>
      new Map([...state].filter(([name]) => !kept.includes(name)));
    assert.deepEqual(others(this.device.trusted), others(before));
  }
}

export function directorTarget(content: string, ecus: readonly Ecu[], ecuFields: Body = {}): Body {
  const ecuIdentifiers = Object.fromEntries(
    ecus.map(({ serial, hardwareId }) => [serial, { hardwareId, ...ecuFields }]),
  );
  return { ...fileInfo(content), custom: { ecuIdentifiers, targetFormat: 'BINARY' } };
}

export function imageTarget(content: string, ecus: readonly Ecu[], custom: Body = {}): Body {
  const hardwareIds = ecus.map(({ hardwareId }) => hardwareId);
  return { ...fileInfo(content), custom: { hardwareIds, targetFormat: 'BINARY', ...custom } };
}

function names(target: Body, ecus: readonly Ecu[]): boolean {
  const { ecuIdentifiers } = target['custom'] as { ecuIdentifiers: Body };
  return ecus.some(({ serial }) => serial in ecuIdentifiers);
}
