/** The agent's part of an update on a board of the tests, for a process that may be killed. */
import { readFileSync } from 'node:fs';

import { isOtaError } from '../../agent/errors.ts';
import { targetFor } from './targets.ts';
import { SwupdateBoard } from './swupdate-board.ts';
import { installerOn } from './swupdate-installer.ts';

export interface Drive {
  readonly directory: string;
  readonly staged: string;
  /** Ends the process when so many bytes were written. */
  readonly killAtBytes?: number;
}

/** Everything up to the reboot. */
async function install({ directory, staged, killAtBytes }: Drive): Promise<void> {
  const installer = installerOn(SwupdateBoard.existing(directory));
  const target = targetFor(readFileSync(staged), { filename: 'update.swu' });
  await installer.check(target);
  await installer.write(target, staged, (doneBytes) => {
    if (killAtBytes !== undefined && doneBytes >= killAtBytes) process.kill(process.pid, 'SIGKILL');
  });
  await installer.activate(target);
}

try {
  await install(JSON.parse(process.argv[2] ?? '') as Drive);
} catch (error) {
  if (!isOtaError(error) || error.code !== 'INSTALL_FAILED') throw error;
  process.stderr.write(`${error.code} ${error.details.cause}\n`);
}
