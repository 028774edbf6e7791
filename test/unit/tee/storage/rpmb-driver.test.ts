/** The secure world's side of an RPMB, on a bus that somebody else has in hand. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { openRpmbDevice, type RpmbDevice } from '../../../tee/secure-world/storage/rpmb/device.ts';
import { deriveRpmbKey, RpmbDriver } from '../../../tee/secure-world/storage/rpmb/driver.ts';
import {
  StorageFailure,
  TEE_ERROR_COMMUNICATION,
  TEE_ERROR_SECURITY,
} from '../../../tee/secure-world/storage/trusted-storage.ts';
import { CrashDisk } from './crash-disk.ts';
import { HUK, SMALL_CHIP, throwsResult } from './fixture.ts';
import { counterOf, parse, readBlocks, signedWrite } from './rpmb-host.ts';

const MAX_ATTEMPTS = 10;

/** The bus: what a test does to messages on their way. `undefined` loses one. */
class Bus implements RpmbDevice {
  readonly device: RpmbDevice;
  onRequest: (message: Uint8Array) => Uint8Array | undefined = (message) => message;
  onResponse: (message: Uint8Array) => Uint8Array = (message) => message;
  readonly requests: Uint8Array[] = [];

  constructor(device: RpmbDevice) {
    this.device = device;
  }

  get parameters() {
    return this.device.parameters;
  }

  send(message: Uint8Array): void {
    this.requests.push(message.slice());
    const passed = this.onRequest(message);
    if (passed !== undefined) this.device.send(passed);
  }

  receive(frameCount: number): Uint8Array {
    return this.onResponse(this.device.receive(frameCount));
  }

  close(): void {
    this.device.close();
  }

  /** Leaves messages alone again. */
  release(): void {
    this.onRequest = (message) => message;
    this.onResponse = (message) => message;
    this.requests.length = 0;
  }

  writes(): readonly Uint8Array[] {
    return this.requests.filter(isWrite);
  }
}

function openBus(disk = new CrashDisk()): Bus {
  return new Bus(openRpmbDevice(disk, SMALL_CHIP));
}

function drive(device: RpmbDevice, huk: Uint8Array = HUK): RpmbDriver {
  return new RpmbDriver({ device, huk, whenUnprogrammed: 'program' });
}

function isWrite(message: Uint8Array): boolean {
  return parse(message).type === 3;
}

function block(fill: number): Buffer {
  return Buffer.alloc(256, fill);
}

describe('the key of an RPMB', () => {
  test('is the HMAC-SHA256 of the CID without revision and checksum (core/tee/tee_rpmb_fs.c)', () => {
    const cid = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
    const other = Buffer.from('0001020304050607085a0a0b0c0d0ea5', 'hex');
    // openssl dgst -sha256 -mac HMAC -macopt hexkey:0011…ff over the CID with bytes 9 and 15 zero
    const expected = 'da01c1b777231f9e693b780f9875d59a26fc4c89211866ec9419d905e55ec1eb';
    assert.equal(Buffer.from(deriveRpmbKey(HUK, cid)).toString('hex'), expected);
    assert.equal(Buffer.from(deriveRpmbKey(HUK, other)).toString('hex'), expected);
    assert.equal(cid[9], 9, 'the CID itself is left alone');
  });

  test('is programmed only when told so', () => {
    const bus = openBus();
    const refusing = { device: bus, huk: HUK, whenUnprogrammed: 'refuse' } as const;
    throwsResult(() => new RpmbDriver(refusing), TEE_ERROR_COMMUNICATION);
    assert.ok(bus.requests.every((request) => parse(request).type !== 1));
    drive(bus);
    new RpmbDriver(refusing).write(3, block(1));
    assert.deepEqual(readBlocks(bus.device, 3, 1), block(1));
  });

  test('of another hardware unique key opens nothing and changes nothing', () => {
    const bus = openBus();
    drive(bus).write(1, block(1));
    const counter = counterOf(bus.device);
    throwsResult(() => drive(bus, Buffer.alloc(16, 7)), TEE_ERROR_COMMUNICATION);
    assert.equal(counterOf(bus.device), counter);
    assert.deepEqual(readBlocks(bus.device, 1, 1), block(1));
  });
});

describe('a write held back', () => {
  test('from before the start is worthless after it: one write of the opening burns its counter', () => {
    const bus = openBus();
    const before = drive(bus);
    let held: Uint8Array | undefined;
    bus.onRequest = (message) => {
      if (!isWrite(message)) return message;
      held = message.slice();
      return undefined;
    };
    throwsResult(() => {
      before.write(5, block(9));
    }, TEE_ERROR_COMMUNICATION);
    bus.release();
    const driver = drive(bus);
    assert.equal(bus.writes().length, 1);
    bus.device.send(held ?? assert.fail());
    assert.deepEqual(driver.read(5, 1), block(0));
    driver.write(5, block(1));
    assert.deepEqual(driver.read(5, 1), block(1));
  });

  test('that comes through while the next world opens is there, once, and then never again', () => {
    const bus = openBus();
    const before = drive(bus);
    const held: Uint8Array[] = [];
    bus.onRequest = (message) => {
      if (!isWrite(message)) return message;
      held.push(message.slice());
      return undefined;
    };
    throwsResult(() => {
      before.write(5, block(9));
    }, TEE_ERROR_COMMUNICATION);
    bus.release();
    bus.onRequest = (message) => {
      if (isWrite(message)) bus.device.send(held[0] ?? assert.fail());
      return message;
    };
    const driver = drive(bus);
    bus.release();
    assert.deepEqual(driver.read(5, 1), block(9));
    driver.write(5, block(1));
    for (const message of held) bus.device.send(message);
    assert.deepEqual(driver.read(5, 1), block(1));
  });

  test('to the first block, let through while it is read again, stops the opening (TEE_ERROR_SECURITY)', () => {
    const bus = openBus();
    drive(bus);
    const key = deriveRpmbKey(HUK, SMALL_CHIP.cid);
    let reads = 0;
    bus.onRequest = (message) => {
      reads += parse(message).type === 4 ? 1 : 0;
      if (reads === 2) {
        const counter = counterOf(bus.device);
        bus.device.send(signedWrite(key, { counter, address: 0, data: block(2) }));
      }
      return message;
    };
    throwsResult(() => drive(bus), TEE_ERROR_SECURITY);
  });
});

describe('a response that is lost or altered', () => {
  test('does not make a write happen twice, nor not at all', () => {
    for (let losses = 1; losses < MAX_ATTEMPTS; losses += 1) {
      const bus = openBus();
      const driver = drive(bus);
      const counter = counterOf(bus.device);
      let left = losses;
      bus.onResponse = (message) => {
        left -= 1;
        return left >= 0 ? new Uint8Array(message.byteLength) : message;
      };
      driver.write(4, block(7));
      bus.release();
      assert.equal(counterOf(bus.device), counter + 1, `${String(losses)} losses`);
      assert.deepEqual(driver.read(4, 1), block(7));
      driver.write(4, block(8));
      assert.equal(counterOf(bus.device), counter + 2);
    }
  });

  test('is tried 10 times, then the RPMB is dead until the next start (TEE_ERROR_COMMUNICATION)', () => {
    const acts: readonly ((driver: RpmbDriver) => void)[] = [
      (driver) => {
        driver.write(4, block(7));
      },
      (driver) => {
        driver.read(4, 1);
      },
    ];
    for (const act of acts) {
      const bus = openBus();
      const driver = drive(bus);
      bus.release();
      let responses = 0;
      bus.onResponse = (message) => {
        responses += 1;
        return new Uint8Array(message.byteLength);
      };
      throwsResult(() => {
        act(driver);
      }, TEE_ERROR_COMMUNICATION);
      assert.equal(responses, MAX_ATTEMPTS);
      bus.release();
      for (const other of acts) {
        throwsResult(() => {
          other(driver);
        }, TEE_ERROR_COMMUNICATION);
      }
      throwsResult(() => {
        driver.assertAlive();
      }, TEE_ERROR_COMMUNICATION);
      assert.deepEqual(bus.requests, [], 'it is not even asked');
      drive(bus).write(4, block(8));
    }
  });

  test('is never taken for a good one, whatever bit differs', () => {
    const bus = openBus();
    const driver = drive(bus);
    driver.write(3, block(3));
    const bits = fc.record({ at: fc.integer({ min: 196, max: 511 }), bit: fc.nat({ max: 7 }) });
    fc.assert(
      fc.property(bits, fc.boolean(), ({ at, bit }, isReading) => {
        let isFirst = true;
        bus.onResponse = (message) => {
          const copy = message.slice();
          if (isFirst) copy[at] = (copy[at] ?? 0) ^ (1 << bit);
          isFirst = false;
          return copy;
        };
        bus.requests.length = 0;
        const before = counterOf(bus.device);
        if (isReading) assert.deepEqual(driver.read(3, 1), block(3));
        else driver.write(3, block(3));
        assert.ok(bus.requests.length >= 2, 'it was asked again');
        bus.release();
        assert.equal(counterOf(bus.device), isReading ? before : before + 1);
      }),
      { numRuns: 200 },
    );
  });

  test('is not accepted when it is an old one: of another nonce, address or counter', () => {
    const bus = openBus();
    const driver = drive(bus);
    driver.write(3, block(3));
    const recorded: Uint8Array[] = [];
    bus.onResponse = (message) => {
      recorded.push(message.slice());
      return message;
    };
    driver.read(3, 1);
    driver.write(3, block(4));
    driver.read(4, 1);
    for (const old of recorded) {
      let isFirst = true;
      bus.onResponse = (message) => {
        const answer = isFirst ? old : message;
        isFirst = false;
        return answer;
      };
      assert.deepEqual(driver.read(3, 1), block(4));
      isFirst = true;
      driver.write(5, block(5));
      assert.deepEqual(driver.read(5, 1), block(5));
    }
  });
});

describe('a counter that somebody else has moved', () => {
  test('kills the RPMB at the next write: two worlds can not share a chip', () => {
    const bus = openBus();
    let first = drive(bus);
    for (const writes of [0, 1, 2]) {
      const other = drive(bus);
      for (let each = 0; each < writes; each += 1) other.write(1, block(each));
      const before = readBlocks(bus.device, 1, 1);
      throwsResult(() => {
        first.write(1, block(0xff));
      }, TEE_ERROR_COMMUNICATION);
      assert.deepEqual(readBlocks(bus.device, 1, 1), before);
      other.write(1, block(3));
      first = drive(bus);
    }
  });
});

test('a chip that can not be written says why', () => {
  const disk = new CrashDisk();
  const driver = drive(openBus(disk));
  disk.failure = () => TEE_ERROR_SECURITY;
  assert.throws(
    () => {
      driver.write(1, block(1));
    },
    (error: unknown) =>
      error instanceof StorageFailure && /write block 1.*cannot write/u.test(error.message),
  );
});
