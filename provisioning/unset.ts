import { OtaError } from '../agent/errors.ts';

/** A setting that this way of provisioning cannot do without. */
export function unset(name: string, why: string): OtaError<'CONFIG_INVALID'> {
  return new OtaError('CONFIG_INVALID', {
    file: 'settings',
    line: 0,
    key: `provisioning.${name}`,
    problem: `is not set, and ${why}`,
    remedy: `add ${name} = "…" to [provisioning]`,
  });
}
