/** Settings of the checks that a new image has to pass before it is confirmed. */
import * as z from 'zod';

import { duration, text } from './settings-values.ts';

export const healthSettings = z
  .strictObject({
    deadline: duration('15m').describe('How long a new image may take to pass; then it goes'),
    gateway: z.boolean().default(true).describe('Whether the Director has to be reached from it'),
    units: z
      .array(text(255))
      .default([])
      .describe('Units of systemd that have to be active')
      .meta({ title: 'list of texts such as ["app.service"]' }),
    commands: z
      .array(z.array(z.string()).min(1))
      .default([])
      .describe('Programs with arguments, without a shell, that have to end with 0')
      .meta({ title: 'list of lists of texts such as [["/usr/bin/self-test", "--quick"]]' }),
    command_timeout: duration('30s').describe('Longest time that one of them may take'),
  })
  .prefault({});
