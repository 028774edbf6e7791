/** `/secrets`: values for one device, encrypted to the key that it registered. */
import { bodyOf } from '../answers.ts';
import { Refusal } from '../failure.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import type { World } from '../world.ts';
import { checkKey, encrypt } from './encrypt.ts';
import type { Gateway, PeerOf } from './peers.ts';

export function addSecretsRoutes(app: Gateway, world: World, peerOf: PeerOf): void {
  app.put('/secrets/key', async (request, reply) => {
    const { device: id } = peerOf(request);
    const secretsKey = checkKey(new JsonReader(parseJson(bodyOf(request))).object('key'));
    await world.store.hold(id, async (held) => held.save({ ...held.device, secretsKey }));
    return reply.code(204).send();
  });

  app.get('/secrets', async (request) => {
    const { device: id } = peerOf(request);
    const { secretsKey: key, secrets } = (await world.store.find(id)) ?? {};
    const { images } = world.images;
    // A Director that encrypts images has to be given a key, though it has no secrets.
    const wantsKey = images.some(({ encrypt: wanted }) => wanted === true);
    if (secrets === undefined && !wantsKey)
      throw new Refusal(404, 'no_secrets', `none are kept for ${id}`);
    if (key === undefined) return { key: '', version: 0, secrets: {} };
    const { version, values } = secrets ?? { version: 0, values: {} };
    const entries = Object.entries(values).map(([name, value]) => {
      const content = Buffer.from(value, 'base64');
      return [name, encrypt(content, key, { sub: id, name, version })];
    });
    return { key: key.kid, version, secrets: Object.fromEntries(entries) as object };
  });
}
