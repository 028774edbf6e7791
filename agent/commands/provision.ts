/** `ota-agent provision`: the steps of `provisioning/`, on the agent's own storage and network. */
import { hostname } from 'node:os';

import { provision } from '../../provisioning/provision.ts';
import type { GatewayRequest } from '../../provisioning/record.ts';
import { assembleLocal, openHttp } from '../assemble.ts';
import { requireGateway } from '../config-rules.ts';
import { OtaError } from '../errors.ts';
import type { HttpClient, Response } from '../io/http.ts';
import { probeModule } from '../io/token/probe-module.ts';
import { StoredRecord } from '../io/store/provisioning-record.ts';
import { VERSION } from '../version.ts';
import type { CommandContext } from './context.ts';
import type { CommandResult } from './result.ts';

const MAX_ANSWER_BYTES = 64 * 1024;

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
    await probeModule(settings.token.module);
    const { deviceId, ecu, warnings } = await provision(
      settings,
      {
        record: new StoredRecord(local.store),
        connect: (identity) => {
          const http = openHttp(settings, identity);
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

/** @param bases - what a path starts with, and the URL that stands for it */
function gatewayRequest(http: HttpClient, bases: Readonly<Record<string, string>>): GatewayRequest {
  return async (method, path, body) => {
    const [prefix, base] = Object.entries(bases).find(([start]) => path.startsWith(start)) ?? [];
    if (prefix === undefined || base === undefined) throw new Error(`no server for ${path}`);
    const response = await http.send({
      method,
      url: base + path.slice(prefix.length),
      ...(body === undefined ? {} : { body, headers: { 'content-type': 'application/json' } }),
    });
    return { status: response.status, body: await readAnswer(response, path) };
  };
}

/** Enough for root metadata and for any answer; more is an attack or a captive portal. */
async function readAnswer({ body, status }: Response, url: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let received = 0;
  for await (const part of body) {
    received += part.byteLength;
    if (received > MAX_ANSWER_BYTES) {
      const answer = `more than ${String(MAX_ANSWER_BYTES)} bytes`;
      throw new OtaError('GATEWAY_ANSWER', { url, status, answer });
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}
