/** Puts finished objects where they belong, and takes them away again. */
import { CKA } from './abi-attributes.ts';
import type { Attributes } from './attributes.ts';
import { P11Object } from './object.ts';
import type { Session } from './session.ts';

/** Puts an object where its CKA_TOKEN says. @returns its handle */
export function place(session: Session, attributes: Attributes): number {
  if (!attributes.boolean(CKA.TOKEN)) return session.addObject(new P11Object(attributes));
  const [object] = session.token.add(attributes);
  return session.client.publish(object);
}

/** Both or neither: half a pair is of no use to anyone. @returns their handles */
export function placePair(
  session: Session,
  publicKey: Attributes,
  privateKey: Attributes,
): readonly [number, number] {
  if (publicKey.boolean(CKA.TOKEN) && privateKey.boolean(CKA.TOKEN)) {
    const [publicObject, privateObject] = session.token.add(publicKey, privateKey);
    return [session.client.publish(publicObject), session.client.publish(privateObject)];
  }
  const publicHandle = place(session, publicKey);
  try {
    return [publicHandle, place(session, privateKey)];
  } catch (failure) {
    const object = session.object(publicHandle);
    if (object !== undefined) displace(session, object);
    throw failure;
  }
}

/** Takes an object out of where it is. */
export function displace(session: Session, object: P11Object): void {
  if (object.home === undefined) {
    session.client.destroySessionObject(object);
  } else {
    session.token.remove(object);
    session.client.forget(object);
  }
}
