/** Which boot loader the settings name, and where it is kept what the slots hold. */
import type { BootChoiceRules } from '../../../config-installer.ts';
import type { BootChoice } from './boot-choice.ts';
import { GrubEnvironment } from './grub.ts';
import { Marker } from './marker.ts';
import { RecordFile, type SlotRecord } from './record.ts';
import { SystemdBoot } from './systemd-boot.ts';
import { UbootEnvironment } from './uboot.ts';

interface Kept {
  readonly choice: BootChoice;
  readonly record: SlotRecord;
}

/** @param recordPath - of the record, where the choice has no room for it */
export function openChoice(rules: BootChoiceRules, tries: number, recordPath: string): Kept {
  const record = new RecordFile(recordPath);
  switch (rules.at) {
    case 'marker': {
      const marker = new Marker(rules.path, tries);
      return { choice: marker, record: marker };
    }
    case 'uboot': {
      const { config: configPath, convention } = rules;
      return { choice: new UbootEnvironment({ configPath, convention, tries }), record };
    }
    case 'grub':
      return { choice: new GrubEnvironment(rules.environment, tries), record };
    case 'systemd-boot':
      return { choice: new SystemdBoot(rules.entries, tries), record };
  }
}
