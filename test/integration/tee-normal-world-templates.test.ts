import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { u32 } from './support-tee-fake-world.ts';
import { tooSmall, type TaAnswer, type TaCall, CryptokiSuite } from './support-tee-ta-calls.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('templates and mechanisms on their way to the TA', () => {
  const suite = new CryptokiSuite();

  /** What calls print, and the ctrl of each command that was sent. */
  const calls = async (
    script: readonly string[],
    answer: (call: TaCall) => TaAnswer = () => ({ out: u32(1) }),
  ): Promise<{ lines: readonly string[]; ctrl: readonly string[] }> => {
    const { lines, commands } = await suite.calls(script, answer);
    return { lines, ctrl: commands.map((command) => command.split(' ')[1] ?? '') };
  };
  /** What C_SignInit with key 2 in session 1 sends of its mechanism. */
  const mechanism = async (text: string): Promise<string> => {
    const { lines, ctrl } = await calls([`init sign 1 ${text} 2`]);
    assert.deepEqual([lines, ctrl[0]?.slice(0, 16)], [['0x0'], '0100000002000000']);
    return ctrl[0]?.slice(16) ?? '';
  };
  const ulongs = (...values: number[]): string => {
    const bytes = Buffer.alloc(8 * values.length);
    values.forEach((value, index) => bytes.writeBigUInt64LE(BigInt(value), 8 * index));
    return `x${bytes.toString('hex')}`;
  };
  const iv = '000102030405060708090a0b0c0d0e0f';

  const formats: readonly (readonly [string, string, string])[] = [
    ['AES-CBC', `0x1082:x${iv}`, `82100000 10000000 ${iv}`],
    [
      'AES-CBC with padding, which the TA refuses itself',
      `0x1085:x${iv}`,
      `85100000 10000000 ${iv}`,
    ],
    ['AES-CBC with an IV that the TA refuses itself', '0x1082:x0001', '82100000 02000000 0001'],
    ['AES-CTR', `0x1086:x0100000000000000${iv}`, `86100000 14000000 01000000 ${iv}`],
    [
      'AES-GCM',
      '0x1087:gcm:x0a0b0c:x0d:128',
      '87100000 10000000 03000000 0a0b0c 01000000 0d 80000000',
    ],
    [
      'AES-GCM without additional data',
      '0x1087:gcm:x0a:null:96',
      '87100000 0d000000 01000000 0a 00000000 60000000',
    ],
    ['a MAC of a given length', `0x252:${ulongs(16)}`, '52020000 04000000 10000000'],
    ['RSA-PSS', `0x43:${ulongs(0x250, 2, 32)}`, '43000000 0c000000 50020000 02000000 20000000'],
    [
      'RSA-OAEP',
      '0x9:oaep:0x250:2:1:x6c6162',
      '09000000 13000000 50020000 02000000 01000000 03000000 6c6162',
    ],
    [
      'RSA-OAEP without a label',
      '0x9:oaep:0x250:2:1:null',
      '09000000 10000000 50020000 02000000 01000000 00000000',
    ],
    [
      'RSA-AES key wrap',
      '0x1054:rsaaes:256:0x220:1:1:x',
      '54100000 14000000 00010000 20020000 01000000 01000000 00000000',
    ],
    [
      'EdDSA with its parameters',
      '0x1057:eddsa:1:x6374',
      '57100000 0a000000 01000000 02000000 6374',
    ],
    ['EdDSA without parameters', '0x1057', '57100000 08000000 00000000 00000000'],
    ['ECDH', '0x1050:ecdh:1:x:x04aabb', '50100000 0f000000 01000000 00000000 03000000 04aabb'],
    [
      'ECDH with shared data',
      '0x1050:ecdh:2:x11:x04',
      '50100000 0e000000 02000000 01000000 11 01000000 04',
    ],
    ['encrypted data, ECB', '0x1104:ecb:x0102', '04110000 06000000 02000000 0102'],
    ['encrypted data, CBC', `0x1105:cbc:x${iv}:x0102`, `05110000 16000000 ${iv} 02000000 0102`],
    ['ECDSA', '0x1041', '41100000 00000000'],
    ['ECDSA with an empty parameter', '0x1041:x', '41100000 00000000'],
  ];
  for (const [what, text, expected] of formats) {
    test(`serializes the mechanism ${what}`, async () => {
      assert.equal(await mechanism(text), hex(expected).toString('hex'));
    });
  }

  const refused: readonly (readonly [string, string, string])[] = [
    ['a parameter that a mechanism does not have', '0x1041:x00', '0x71'],
    ['a NULL that claims to be an IV', '0x1082:null*16', '0x71'],
    ['half a structure', '0x43:x0000', '0x7'],
    ['no structure', '0x1087', '0x7'],
    ['AES-GCM without an IV', '0x1087:gcm:null:x0d:128', '0x71'],
    ['a NULL that claims to be data', '0x9:oaep:1:1:1:null*4', '0x71'],
    ['key wrap without OAEP', '0x1054:rsaaes:256', '0x71'],
    ['a mechanism that has no serialized form', '0x1088', '0x70'],
    ['a mechanism beyond 32 bits', '0x100001041', '0x70'],
  ];
  for (const [what, text, rv] of refused) {
    test(`refuses ${what} and sends nothing`, async () => {
      assert.deepEqual(await calls([`init sign 1 ${text} 2`]), { lines: [rv], ctrl: [] });
    });
  }

  test('narrows the CK_ULONG attributes that the TA has as 32 bits, and those only', async () => {
    const narrow = [0x0, 0x80, 0x87, 0x8c, 0x100, 0x300, 0x500, 0x166, 0x161, 0x121];
    const wide = [0x88, 0x3];
    const template = [...narrow, ...wide]
      .map((type) => `${String(type)}=${ulongs(type === 0x161 ? 0x1_0000_0010 : 5)}`)
      .join(',');
    const { ctrl } = await calls([`create_object 1 ${template}`]);
    const expected = [
      ...narrow.map((type) => u32(type, 4, type === 0x161 ? 0xffffffff : 5)),
      ...wide.map((type) => u32(type, 8, 5, 0)),
    ];
    const body = Buffer.concat(expected);
    assert.equal(ctrl[0], Buffer.concat([u32(1, body.length, 12), body]).toString('hex'));
  });

  test('serializes mechanism lists, nested templates and absent values', async () => {
    const { ctrl } = await calls([
      `create_object 1 0x40000600=${ulongs(0x1041, 0x1044)},0x40000211=[0x0=${ulongs(4)},0x3=x61],0x90=null,0x40000212=[]`,
    ]);
    const body = hex(
      '00060040 08000000 41100000 44100000' +
        '11020040 1d000000 15000000 02000000 00000000 04000000 04000000 03000000 01000000 61' +
        '90000000 00000000' +
        '12020040 08000000 00000000 00000000',
    );
    assert.equal(ctrl[0], Buffer.concat([u32(1, body.length, 4), body]).toString('hex'));
  });

  const nested = (depth: number): string =>
    depth === 0 ? '0x3=x61' : `0x40000211=[${nested(depth - 1)}]`;

  test('nests templates five deep and no deeper', async () => {
    const { lines, ctrl } = await calls([
      `create_object 1 ${nested(4)}`,
      `create_object 1 ${nested(5)}`,
    ]);
    assert.deepEqual(lines, ['0x0 handle=1', '0x13']);
    assert.equal(ctrl.length, 1);
  });

  const badAttributes: readonly (readonly [string, string, string])[] = [
    ['CKA_UNDEFINED', '0xffffffff=x00', '0x12'],
    ['a type beyond 32 bits', '0x100000003=x00', '0x12'],
    ['a CK_ULONG of 4 bytes', '0x100=x00000000', '0x13'],
    ['a mechanism list that ends within a mechanism', '0x40000600=x000000', '0x13'],
    ['a nested template that ends within an attribute', '0x40000211=x000000', '0x13'],
  ];
  for (const [what, template, rv] of badAttributes) {
    test(`refuses ${what} and sends nothing`, async () => {
      const { lines, ctrl } = await calls([`create_object 1 ${template}`]);
      assert.deepEqual([lines, ctrl], [[rv], []]);
    });
  }

  test('asks for attributes with empty buffers of their size, and widens what comes back', async () => {
    const { lines, ctrl } = await calls(
      [
        'get_attribute_value 1 2 0x100=8,0x3=5,0x161=8,0x40000600=16,0x121=null,0x40000600=null,0x3=null,0x166=16',
      ],
      () => ({
        out: hex(
          '59000000 08000000' +
            '00010000 04000000 03000000' +
            '03000000 02000000 4142000000' +
            '61010000 ffffffff 00000000' +
            '00060040 04000000 41100000 00000000' +
            '21010000 04000000' +
            '00060040 08000000' +
            '03000000 09000000' +
            '66010000 04000000 ffffffff',
        ),
        rv: 0x12,
      }),
    );
    assert.deepEqual(lines, [
      `0x12 0x100=x03${'00'.repeat(7)} 0x3=x4142 0x161=unavailable 0x40000600=x4110${'00'.repeat(6)}` +
        ` 0x121=8 0x40000600=16 0x3=9 0x166=x${'ff'.repeat(8)}`,
    ]);
    assert.deepEqual(ctrl, [
      hex(
        '01000000 02000000 59000000 08000000' +
          '00010000 04000000 00000000' +
          '03000000 05000000 0000000000' +
          '61010000 04000000 00000000' +
          '00060040 08000000 00000000 00000000' +
          '21010000 00000000' +
          '00060040 00000000' +
          '03000000 00000000' +
          '66010000 04000000 00000000',
      ).toString('hex'),
    ]);
  });

  test('marks attributes that do not fit, whoever finds out', async () => {
    const { lines } = await calls(
      ['get_attribute_value 1 2 0x100=7,0x3=0,0x11=4,0x40000600=8,0x161=16'],
      () => ({
        out: hex(
          '34000000 05000000 00010000 04000000 03000000 01000000 11000000 ffffffff 00000000' +
            '00060040 08000000 41100000 61010000 08000000 20000000',
        ),
      }),
    );
    assert.deepEqual(lines, [
      '0x150 0x100=unavailable 0x3=unavailable 0x11=unavailable 0x40000600=unavailable 0x161=unavailable',
    ]);
  });

  test('never gives a nested template', async () => {
    const { lines, ctrl } = await calls(
      ['get_attribute_value 1 2 0x40000211=24', 'get_attribute_value 1 2 0x40000211=null'],
      ({ params }) => ({ out: Buffer.from(params[0]?.bytes.subarray(8) ?? []) }),
    );
    assert.deepEqual(lines, ['0x12 0x40000211=unavailable', '0x12 0x40000211=unavailable']);
    assert.deepEqual(ctrl, [
      hex('01000000 02000000 10000000 01000000 11020040 08000000 00000000 00000000').toString(
        'hex',
      ),
      hex('01000000 02000000 10000000 01000000 11020040 08000000 00000000 00000000').toString(
        'hex',
      ),
    ]);
  });

  test('leaves the template alone when the TA fails or answers for another', async () => {
    const answers: readonly TaAnswer[] = [
      { rv: 0x82 },
      { out: hex('09000000 01000000 04000000 01000000 41') },
      { out: hex('09000000 02000000 03000000 01000000 41') },
      { out: hex('0a000000 01000000 03000000 01000000 41') },
      { out: hex('09000000 01000000 03000000') },
      tooSmall(99),
    ];
    let at = 0;
    const { lines } = await calls(
      answers.map(() => 'get_attribute_value 1 2 0x3=1'),
      () => {
        at += 1;
        return answers[at - 1] ?? {};
      },
    );
    assert.deepEqual(lines, ['0x82 0x3=xa5', ...answers.slice(1).map(() => '0x5 0x3=xa5')]);
  });
});
