/** Everything that is fuzzed in this process. One line makes a target part of every run. */
import { attributeLists } from './attribute-lists.fuzz.ts';
import { storageFiles } from './storage-files.fuzz.ts';
import { taCommands } from './ta-commands.fuzz.ts';
import type { FuzzTarget } from './target.ts';
import { wireFrames } from './wire-frames.fuzz.ts';

export const TARGETS: readonly FuzzTarget[] = [
  attributeLists,
  wireFrames,
  taCommands,
  storageFiles,
];
