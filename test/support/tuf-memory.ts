/** A device's memory of one TUF repository, and the conversation about it without a network. */
import { findTarget } from '../../agent/uptane/delegations.ts';
import type { TargetFile } from '../../agent/uptane/metadata.ts';
import { MetadataStore, verifyFirstRoot } from '../../agent/uptane/store.ts';
import { parseInstant, type Instant } from '../../agent/uptane/time.ts';
import { TUF } from '../../agent/uptane/tuf.ts';
import { updateImage, type Conversation } from '../../agent/uptane/verify.ts';
import type { TufRepository } from './tuf-repository.ts';

export class TufMemory {
  readonly trusted: Map<string, Uint8Array>;
  now: Instant = parseInstant('2026-11-21T00:00:00Z', 'now');
  readonly #repository: TufRepository;

  constructor(repository: TufRepository) {
    const root = repository.served.get('1.root.json') ?? Buffer.from('');
    verifyFirstRoot('image', root, TUF);
    this.trusted = new Map([['image/root', root]]);
    this.#repository = repository;
  }

  /** @returns what is believed about each name, in a run of its own; all names together are one run */
  refresh(names: readonly string[] = []): readonly TargetFile[] {
    const store = new MetadataStore('image', this.trusted, this.now, TUF);
    const repository = this.#hold(updateImage(store));
    return names.map((filename) =>
      this.#hold(findTarget(repository, { filename, hardwareId: undefined })),
    );
  }

  #hold<T>(talk: Conversation<T>): T {
    let turn = talk.next();
    while (turn.done !== true) {
      const need = turn.value;
      if (need.need === 'fetch') {
        turn = talk.next(this.#repository.served.get(decodeURIComponent(need.file)));
        continue;
      }
      const name = `image/${need.role}`;
      if (need.bytes === undefined) this.trusted.delete(name);
      else this.trusted.set(name, need.bytes);
      turn = talk.next(undefined);
    }
    return turn.value;
  }
}
