/**
 * What the runner needs to know of something it fuzzes: a parser, a protocol, a file format.
 *
 * An input is bytes, whatever the target makes of them, so that every target has the same corpus,
 * the same files of what was found and the same way to replay them.
 */
import type { Random } from './random.ts';

export interface FuzzTarget {
  /** Of its corpus directory as well. */
  readonly name: string;
  /** Inputs that mean something, made from vectors and by hand. The same ones every time. */
  seeds(): Iterable<Uint8Array>;
  /**
   * Feeds one input to what is fuzzed. It keeps no state from one input to the next: else nothing
   * that is found can be replayed.
   *
   * @returns labels of what happened, few of them in all; an input with a new one is kept
   * @throws whatever breaks an invariant, or gets out of what is fuzzed
   */
  run(input: Uint8Array): readonly string[];
  /** A small change that keeps the structure; without it, bytes are changed blindly. */
  mutate?(input: Uint8Array, random: Random, other: Uint8Array): Uint8Array;
  /** What a long run has to have seen and has not, since the process started. */
  unreached?(): readonly string[];
}
