import type { OstreeSettings } from '../../agent/io/installers/ostree/ostree.ts';
import { OS } from './ostree-repo.ts';

/** Settings of an installer for the device below `sysroot`. */
export function ostreeSettings(
  sysroot: string,
  changes: Partial<OstreeSettings> = {},
): OstreeSettings {
  return {
    sysroot,
    os: OS,
    url: 'https://gateway/treehub',
    remote: 'ota-agent',
    kernelArguments: [],
    finalize: 'now',
    maxPullBytes: 64 * 1024 * 1024,
    timeoutMs: 60_000,
    ...changes,
  };
}
