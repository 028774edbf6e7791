/** Everything that is fuzzed in this process. One line makes a target part of every run. */
import { attributeLists } from './attribute-lists.fuzz.ts';
import { json } from './json.fuzz.ts';
import { metadata } from './metadata.fuzz.ts';
import { storageFiles } from './storage-files.fuzz.ts';
import { taCommands } from './ta-commands.fuzz.ts';
import type { FuzzTarget } from './target.ts';
import { timeAnswer } from './time-answer.fuzz.ts';
import { verification } from './verification.fuzz.ts';
import { wireFrames } from './wire-frames.fuzz.ts';

export const TARGETS: readonly FuzzTarget[] = [
  attributeLists,
  wireFrames,
  taCommands,
  storageFiles,
  json,
  metadata,
  timeAnswer,
  verification,
];
