/**
 * The objects of one TA instance. Its handles end with it, whatever ends it, so that a TA that panicked
 * never keeps others from an object.
 */
import type { StorageBackends } from '../storage/backends.ts';
import type { TaUuid } from '../storage/trusted-storage.ts';
import type { TaInstance, TrustedApp } from '../ta.ts';
import { DataStreams } from './data-streams.ts';
import { Enumerators } from './enumerators.ts';
import { ObjectHandles } from './object-handles.ts';
import { PersistentObjects } from './persistent-objects.ts';
import { Places } from './place.ts';
import { OpenObjects } from './sharing.ts';
import { TransientObjects } from './transient-objects.ts';

export class InstanceObjects {
  readonly persistent: PersistentObjects;
  readonly streams: DataStreams;
  readonly enumerators: Enumerators;
  readonly transient: TransientObjects;

  /** @param open - of all instances of this TA */
  constructor(ta: TaUuid, backends: StorageBackends, open: OpenObjects) {
    const places = new Places(ta, backends);
    const handles = new ObjectHandles();
    const persistent = new PersistentObjects(places, open, handles);
    this.persistent = persistent;
    this.streams = new DataStreams(handles, (handle) => {
      persistent.close(handle);
    });
    this.enumerators = new Enumerators(places);
    this.transient = new TransientObjects(handles);
  }
}

export interface ObjectApp {
  readonly uuid: TaUuid;
  /** TA_FLAG bits. */
  readonly flags: number;
  /** TA_CreateEntryPoint. */
  readonly create: (objects: InstanceObjects) => TaInstance;
}

/** A TA that keeps objects: the world takes back what a dead instance had open. */
export function appWithObjects(
  { uuid, flags, create }: ObjectApp,
  backends: StorageBackends,
): TrustedApp {
  const open = new OpenObjects();
  return {
    uuid,
    flags,
    create: () => {
      const objects = new InstanceObjects(uuid, backends, open);
      const reclaim = (): void => {
        objects.persistent.closeAll();
      };
      try {
        return Object.assign(create(objects), { reclaim });
      } catch (panic) {
        reclaim();
        throw panic;
      }
    },
  };
}
