/** `ota-agent secrets`: receives what was encrypted to this device and hands it to services. */
import { ensureSecretsKey } from '../../provisioning/secrets-key.ts';
import type { Agent } from '../assemble.ts';
import { missing, type LoadedSettings } from '../config-problem.ts';
import { receiveSecrets } from '../io/secrets/receive.ts';
import { SecretFiles } from '../io/secrets/secret-files.ts';
import { runTool } from '../io/run-tool.ts';
import { causeOf } from '../errors.ts';
import type { Log } from '../io/log.ts';
import { byDaemonOr } from './by-daemon.ts';
import { withAgent, type CommandContext } from './context.ts';
import type { CommandResult } from './result.ts';

const VERSION_FACT = 'secrets_version';
const ON_CHANGE_TIMEOUT_MS = 60_000;

/** In the daemon where one runs, else here. */
export function secretsCommand(context: CommandContext): Promise<CommandResult> {
  const { loaded, log } = context;
  return byDaemonOr(context, '/v1/secrets', () =>
    withAgent(context, (agent) => secretsNow(agent, loaded, log)),
  );
}

/**
 * Names only: no value ever leaves this function but into its file.
 *
 * @throws OtaError CONFIG_INVALID, SECRET_REFUSED, SECRETS_PLACE, GATEWAY_*, TOKEN_*; the files stay as they were
 */
export async function secretsNow(
  { identity, store, askSecrets: ask }: Agent,
  loaded: LoadedSettings,
  log: Log,
): Promise<CommandResult> {
  const { secrets: settings } = loaded.settings;
  if (ask === undefined) {
    throw missing(loaded, 'secrets.url', 'the two repositories alone have no place for secrets');
  }
  const key = ensureSecretsKey(identity.token);
  const lastVersion = Number((await store.fact(VERSION_FACT)) ?? 0);
  const { deviceId } = identity;
  const { version, secrets } = await receiveSecrets({ ask, deviceId, key, lastVersion });
  const changed = await new SecretFiles(settings.directory).replace(secrets);
  for (const content of secrets.values()) content.fill(0);
  if (version > lastVersion) await store.saveFact(VERSION_FACT, String(version));
  const failure = changed.length === 0 ? undefined : await sayChanged(settings.on_change, changed);
  if (failure !== undefined) log.warn('secrets.on_change failed', { cause: failure });
  return result(settings.directory, { version, names: [...secrets.keys()], changed, failure });
}

interface Facts {
  readonly version: number;
  readonly names: readonly string[];
  readonly changed: readonly string[];
  readonly failure: string | undefined;
}

function result(directory: string, { version, names, changed, failure }: Facts): CommandResult {
  const outcome = changed.length === 0 ? 'unchanged' : 'received';
  const json = { outcome, directory, version, names, changed };
  const lines = [
    names.length === 0
      ? 'the gateway keeps no secrets for this device'
      : `${outcome}: ${names.join(', ')} (version ${String(version)}) in ${directory}`,
  ];
  if (failure === undefined) return { exit: 0, json, lines };
  const notes = [`secrets.on_change failed: ${failure}`];
  return { exit: 0, json: { ...json, onChange: failure }, lines, notes };
}

/** @returns what went wrong; the files are there all the same */
async function sayChanged(
  [program, ...args]: readonly string[],
  changed: readonly string[],
): Promise<string | undefined> {
  if (program === undefined) return undefined;
  const env = { ...process.env, OTA_SECRETS_CHANGED: changed.join(' ') };
  try {
    const { code, stderr } = await runTool(program, args, { timeoutMs: ON_CHANGE_TIMEOUT_MS, env });
    return code === 0 ? undefined : `${program} ended with ${String(code)}: ${stderr.trim()}`;
  } catch (error) {
    return causeOf(error);
  }
}
