/** Where the parts of the gateway are. */
import type { Settings } from '../settings.ts';
import type { GatewayUrls } from './repositories.ts';

/** Bases without a trailing slash; `gateway.url` serves both repositories unless they are named. */
export function gatewayUrls({ gateway }: Settings): GatewayUrls {
  const base = gateway.url?.replace(/\/+$/u, '') ?? '';
  return {
    director: gateway.director_url?.replace(/\/+$/u, '') ?? `${base}/director`,
    image: gateway.image_url?.replace(/\/+$/u, '') ?? `${base}/repo`,
    events: `${base}/events`,
  };
}
