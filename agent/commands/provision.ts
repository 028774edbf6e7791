/** `ota-agent provision`: the steps of `provisioning/`, on the agent's own storage and network. */
import { hostname } from 'node:os';

import { provision } from '../../provisioning/provision.ts';
import { assembleLocal, openHttp } from '../assemble.ts';
import { requireGateway } from '../config-rules.ts';
import { gatewayRequest } from '../io/gateway-request.ts';
import type { HttpClient } from '../io/http.ts';
import { StoredRecord } from '../io/store/provisioning-record.ts';
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
  const clients: HttpClient[] = [];
  try {
    const { deviceId, ecu, warnings } = await provision(
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
      (step, outcome, facts) => {
        steps.push({ step, outcome, facts });
        log.info(`${step}: ${outcome}: ${facts}`);
      },
    );
    await local.store.saveEcus([{ serial: ecu.serial, hardwareId: ecu.hardwareId }]);
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
