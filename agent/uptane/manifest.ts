/** What the device tells the Director: version reports, the vehicle manifest, and events. */

/** One entry of `POST /events`. */
export interface DeviceEvent {
  /** UUID. */
  readonly id: string;
  /** ISO 8601, UTC. */
  readonly deviceTime: string;
  readonly eventType: { readonly id: string; readonly version: number };
  readonly event: Readonly<Record<string, string | boolean | number>>;
}
