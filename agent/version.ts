import manifest from '../package.json' with { type: 'json' };

/** Of this agent, as `--version` prints it and the gateway sees it. */
export const VERSION: string = manifest.version;
