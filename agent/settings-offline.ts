/** Settings of updates that come on a medium. */
import * as z from 'zod';

import { duration, path } from './settings-values.ts';

export const offlineSettings = z
  .strictObject({
    sources: z
      .array(path)
      .default([])
      .describe('Where media with offline updates are mounted; looked at by the daemon')
      .meta({ title: 'list of absolute paths such as ["/media/update"]' }),
    interval: duration('10s').describe('How often the daemon looks whether one is there'),
  })
  .prefault({});
