/** The streaming installer of the cycle's tests is held to the contract of those that ship. */
import { StreamingSlots } from '../support/streaming-installer.ts';
import { targetFor } from '../support/targets.ts';
import { installerContract } from '../contract/installer.contract.ts';

const CONTENT = Buffer.alloc(300_017, 'new image ');

for (const needsReboot of [false, true]) {
  installerContract(`streaming slots${needsReboot ? ' with a boot' : ''}`, (directory) => {
    const installer = new StreamingSlots(directory, { needsReboot });
    return {
      installer,
      target: targetFor(CONTENT),
      content: CONTENT,
      running: () => {
        const content = installer.running();
        if (content === CONTENT.toString()) return 'update';
        return content === 'factory' ? 'factory' : `neither: ${content.slice(0, 32)}`;
      },
      boot: () => {
        installer.boot();
      },
    };
  });
}
