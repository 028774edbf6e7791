/** Settings of when an update may go on, and who has a say in it. */
import * as z from 'zod';

import { formatWindow, parseWindow, type WrittenWindow } from './config-window.ts';
import { age, duration, text } from './settings-values.ts';

const maintenanceWindow = z.codec(
  z.string().refine((written) => parseWindow(written) !== undefined),
  z.custom<WrittenWindow>(),
  {
    decode: (written, context) => {
      const parsed = parseWindow(written);
      if (parsed !== undefined) return parsed;
      context.issues.push({ code: 'custom', message: 'is no window', input: written });
      return z.NEVER;
    },
    encode: formatWindow,
  },
);

const windows = z
  .array(maintenanceWindow)
  .default([])
  .meta({ title: 'list of windows such as ["Mon..Fri 02:00-04:00 Europe/Berlin"]' });

const commands = z
  .array(z.array(z.string()).min(1))
  .default([])
  .meta({ title: 'list of lists of texts such as [["/usr/bin/on-mains-power"]]' });

export const updateSettings = z
  .strictObject({
    windows: windows.describe('When updates may be installed; with none, at any time'),
    download_windows: windows.describe('When they may be downloaded; with none, at any time'),
    inhibitors: commands.describe('Programs that hold an installation back, by not ending with 0'),
    download_inhibitors: commands.describe('Programs that hold a download back likewise'),
    inhibitor_timeout: duration('10s').describe('Longest time that one may take; then it holds'),
    consent: z
      .enum(['never', 'always', 'listed'])
      .default('never')
      .describe('Whether `ota-agent approve` has to come before an installation'),
    consent_for: z
      .array(text(1024))
      .default([])
      .describe('Names of images that need it where consent is `listed`; `*` and `?` as in TUF')
      .meta({ title: 'list of texts such as ["firmware/*"]' }),
    critical_after: age
      .default(7 * 86_400_000)
      .describe('How long a critical update waits at most, for any of these reasons')
      .meta({ title: 'duration from "1m" to "36500d", such as "7d"' }),
  })
  .prefault({});
