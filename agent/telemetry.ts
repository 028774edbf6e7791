/** From the settings: what the gateway is told about this device. */
import type { GatewayUrls } from './config-rules.ts';
import type { HttpClient } from './io/http.ts';
import { networkInfo } from './io/telemetry/network-info.ts';
import { installedPackages } from './io/telemetry/packages.ts';
import { systemInfo } from './io/telemetry/system-info.ts';
import { HttpTelemetry } from './io/telemetry/telemetry.ts';
import type { SqliteStore } from './io/store/store.ts';
import type { Ports } from './ports.ts';
import type { Settings } from './settings.ts';

interface Parts {
  readonly http: HttpClient;
  readonly urls: GatewayUrls;
  readonly store: SqliteStore;
}

/** @returns nothing where nothing is to be told, or there is no place for it */
export function openTelemetry(
  { telemetry }: Settings,
  { http, urls, store }: Parts,
): Pick<Ports, 'telemetry'> {
  const sources = [
    ...(telemetry.system_info ? [systemInfo()] : []),
    ...(telemetry.packages ? [installedPackages(telemetry.packages_file)] : []),
    ...(telemetry.network ? [networkInfo(() => http.localAddress)] : []),
  ];
  if (urls.telemetry === undefined || sources.length === 0) return {};
  return { telemetry: new HttpTelemetry(http, urls.telemetry, store, sources) };
}
