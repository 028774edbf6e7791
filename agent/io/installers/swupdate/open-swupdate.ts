/** The swupdate installer as the settings want it. */

import type { SwupdateRules, SwupdateSlot } from '../../../config-swupdate.ts';
import { BootVariables } from './boot-variables.ts';
import { SwupdateInstaller } from './installer.ts';
import type { SlotSettings } from './which-slot.ts';

const ANSWER_MS = 10_000;

export function openSwupdate(rules: SwupdateRules): SwupdateInstaller {
  const { a, b, recordPath, quietMs } = rules;
  const scriptPath = `${recordPath}.fw_setenv`;
  return new SwupdateInstaller({
    daemon: { socketPath: rules.socket, answerMs: Math.min(ANSWER_MS, quietMs), quietMs },
    softwareSet: rules.softwareSet,
    slots: { a: slotOf(a), b: slotOf(b) },
    bootedPath: rules.bootedFile,
    recordPath,
    boot: new BootVariables(rules.fwEnv, scriptPath, { a, b }),
  });
}

function slotOf({ mode, devices, booted }: SwupdateSlot): SlotSettings {
  return { mode, devices, bootedWord: booted };
}
