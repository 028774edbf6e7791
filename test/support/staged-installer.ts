/** An installer of the other kind: what streams, fed from a staged file. */
import { createReadStream } from 'node:fs';

import type { StagedInstaller, StreamingInstaller } from '../../agent/ports.ts';

export function stagedOf(installer: StreamingInstaller): StagedInstaller {
  return {
    kind: installer.kind,
    needsReboot: installer.needsReboot,
    takes: 'staged',
    check: (target) => installer.check(target),
    write: async (target, stagedPath, progress) => {
      const open = (start: number): AsyncIterable<Uint8Array> =>
        createReadStream(stagedPath, { start });
      await installer.receive(target, open, progress);
      await installer.prove(target, progress);
    },
    activate: (target) => installer.activate(target),
    booted: (target) => installer.booted(target),
    confirm: (target) => installer.confirm(target),
    rollBack: (target) => installer.rollBack(target),
    describe: () => installer.describe(),
  };
}
