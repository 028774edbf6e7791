/** `ota-agent provision`: the steps of `provisioning/`, on the agent's own storage and network. */
import { hostname } from 'node:os';

import { provision } from '../../provisioning/provision.ts';
import { assembleLocal, openHttp, type LocalAgent } from '../assemble.ts';
import { requireGateway } from '../config-rules.ts';
import { look, sealRisen } from '../cycle/seal.ts';
import { gatewayRequest } from '../io/gateway-request.ts';
import type { HttpClient } from '../io/http.ts';
import type { Log } from '../io/log.ts';
import { probeModule } from '../io/token/probe-module.ts';
import { StoredRecord } from '../io/store/provisioning-record.ts';
import { openSealing } from '../sealing.ts';
import type { Settings } from '../settings.ts';
import { VERSION } from '../version.ts';
import type { CommandContext } from './context.ts';
import type { CommandResult } from './result.ts';

interface Step {
  readonly step: string;
  readonly outcome: string;
  readonly facts: string;
}

/** Idempotent: every step says whether it was done now or found done. */
export async function provisionCommand({ loaded, log }: CommandContext): Promise<CommandResult> {
  const { settings } = loaded;
  const urls = requireGateway(loaded);
  const local = await assembleLocal(loaded, log);
  const steps: Step[] = [];
  const say = (step: string, outcome: string, facts: string): void => {
    steps.push({ step, outcome, facts });
    log.info(`${step}: ${outcome}: ${facts}`);
  };
  const clients: HttpClient[] = [];
  try {
    await probeModule(settings.token);
    const {
      deviceId,
      ecu,
      warnings: trust,
    } = await provision(
      settings,
      {
        record: new StoredRecord(local.store),
        connect: (identity) => {
          const http = openHttp(settings, () => identity, local.ports.clock);
          clients.push(http);
          return gatewayRequest(http, { '/director': urls.director, '/repo': urls.image });
        },
        now: () => local.ports.clock.now(),
        env: process.env,
        hostName: hostname(),
        userAgent: `ota-agent/${VERSION}`,
      },
      say,
    );
    const { serial, hardwareId, components } = ecu;
    await local.store.saveEcus([{ serial, hardwareId }, ...components]);
    const warnings = [...trust, ...(await provisionAnchor(settings, local, log, say))];
    for (const warning of warnings) log.warn(warning);
    return {
      exit: 0,
      json: { outcome: 'provisioned', deviceId, ecu, steps, warnings },
      lines: [
        `provisioned: device ${deviceId}, ECU ${ecu.serial} (${ecu.hardwareId})`,
        ...warnings.map((warning) => `WARNING: ${warning}`),
      ],
    };
  } finally {
    await Promise.all(clients.map((http) => http.close()));
    await local.close();
  }
}

/**
 * Makes the first seal, so that a device leaves the factory with one.
 *
 * @returns warnings: what the next cycle will refuse, or cannot be had of this token
 */
async function provisionAnchor(
  settings: Settings,
  local: LocalAgent,
  log: Log,
  say: (step: string, outcome: string, facts: string) => void,
): Promise<readonly string[]> {
  const sealing = await openSealing(settings, local, log);
  const { ports, meaning } = sealing;
  try {
    const before = await look(ports);
    if (before === undefined) return [];
    const { standing } = before;
    if (standing.is === 'foreign') return [`${standing.problem}: ${ACCEPT}`];
    if (standing.is === 'behind')
      return [`the storage is older than the seal in the token: ${ACCEPT}`];
    if (standing.is === 'unsealed') await sealRisen(ports);
    const { failed } = await local.store.binding();
    if (failed !== undefined) return [`the token cannot hold a seal: ${failed.cause}`];
    say('anchor', standing.is === 'unsealed' ? 'done now' : 'found done', meaning);
    return [];
  } finally {
    sealing.close();
  }
}

const ACCEPT = 'if that is meant, run ota-agent anchor accept';
