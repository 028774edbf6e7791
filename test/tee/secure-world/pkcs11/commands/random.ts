/** Commands for randomness: PKCS#11 v2.40 §5.15. */
import { randomBytes } from 'node:crypto';

import { CMD } from '../abi.ts';
import { SHAPE, type Call, type Command } from '../call.ts';

export const RANDOM_COMMANDS: readonly Command[] = [
  { id: CMD.SEED_RANDOM, shapes: [SHAPE.IN], run: seedRandom },
  { id: CMD.GENERATE_RANDOM, shapes: [SHAPE.OUT], run: generateRandom },
];

/** OpenSSL's generator seeds itself, and Node has no way to add to it: the seed is not needed. */
function seedRandom(call: Call): void {
  call.session();
  call.args.end();
}

function generateRandom(call: Call): void {
  call.session();
  call.args.end();
  call.answer(randomBytes(call.roomBytes));
}
