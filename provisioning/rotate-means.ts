/** What renewal and rotation need of the agent around them. */
import type { Identity, IdentityChoice } from '../agent/io/token/identity.ts';
import { openToken, type Token } from '../agent/io/token/token.ts';
import type { Settings } from '../agent/settings.ts';
import type { Signer } from '../agent/ports.ts';
import type { Ecu } from '../agent/uptane/inventory.ts';
import type { Instant } from '../agent/uptane/time.ts';
import type { GatewayRequest, ProvisioningRecord } from './record.ts';

export interface Means {
  readonly settings: Settings;
  readonly record: ProvisioningRecord;
  readonly env: NodeJS.ProcessEnv;
  readonly userAgent: string;
  /** The best time that is known: agent/TIME.md. */
  readonly now: () => Instant;
  /** What this process uses now. */
  readonly identity: () => Identity;
  /**
   * Opens the identity that was chosen, for the caller to close.
   *
   * @param caPem - who may vouch for the server; those of the gateway if absent
   */
  readonly load: (choice: IdentityChoice, caPem?: string) => Identity;
  /** From now on this process uses that identity, for requests and for manifests. */
  readonly adopt: (identity: Identity) => Promise<void>;
  /** As this device, with what it uses now. */
  readonly gateway: GatewayRequest;
  /** @returns the same, as another identity, over connections of its own */
  readonly gatewayAs: (identity: Identity) => GatewayRequest & { close(): Promise<void> };
  /**
   * Sends a manifest with that signature.
   *
   * @throws OtaError GATEWAY_ANSWER with the Director's words if it does not accept it
   */
  readonly offerManifest: (signer: Signer) => Promise<void>;
  /** The ECUs as they are registered, the Primary first. */
  readonly ecus: () => Promise<readonly Ecu[]>;
}

/** Runs `act` with a token that may be changed. */
export async function withToken<T>(
  { settings, env }: Means,
  act: (token: Token) => T | Promise<T>,
): Promise<T> {
  const token = openToken(settings.token, 'read-write', env);
  try {
    return await act(token);
  } finally {
    token.close();
  }
}
