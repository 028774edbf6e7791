/** Maintenance windows by the clock on a wall: whether one is open, and when the next opens. Pure. */
import type { Instant } from '../uptane/time.ts';

/** A span of every one of some days, in one time zone. */
export interface Window {
  /** 1 is Monday, 7 Sunday. */
  readonly days: readonly number[];
  /** Minutes after midnight; one that ends before it begins ends on the next day. */
  readonly fromMinute: number;
  readonly toMinute: number;
  /** IANA time zone. */
  readonly zone: string;
}

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** A window of one day a week that a change of the clocks leaves out comes again a week later. */
const DAYS_AHEAD = 15;

/**
 * When the clocks go forward over all of a window, it does not open; when they go back over it, it
 * opens twice: whoever stands before the clock on the wall sees that it is right.
 */
export function isOpen({ days, fromMinute, toMinute, zone }: Window, at: Instant): boolean {
  const wall = wallMs(at, zone);
  const minute = Math.floor((wall % DAY_MS) / MINUTE_MS);
  const day = weekday(wall);
  if (fromMinute < toMinute) return days.includes(day) && minute >= fromMinute && minute < toMinute;
  if (minute >= fromMinute) return days.includes(day);
  // Begun yesterday.
  return minute < toMinute && days.includes(day === 1 ? 7 : day - 1);
}

/**
 * The first instant, not before `at`, at which any is open.
 *
 * @returns `undefined` if that is more than two weeks away
 */
export function nextOpening(windows: readonly Window[], at: Instant): Instant | undefined {
  if (windows.some((window) => isOpen(window, at))) return at;
  const openings = windows.flatMap((window) =>
    candidates(window, at).filter((one) => one > at && isOpen(window, one)),
  );
  return openings.length === 0 ? undefined : (Math.min(...openings) as Instant);
}

/** A window opens when the wall says its beginning, or when the clocks are moved into it. */
function candidates({ fromMinute, zone }: Window, at: Instant): readonly Instant[] {
  const wall = wallMs(at, zone);
  const midnight = wall - (wall % DAY_MS);
  return Array.from({ length: DAYS_AHEAD + 1 }, (_, day) => {
    const opens = midnight + day * DAY_MS + fromMinute * MINUTE_MS;
    const before = (opens - offsetMs(opens, zone) - DAY_MS) as Instant;
    const after = (before + 2 * DAY_MS) as Instant;
    const offsets = [offsetMs(before, zone), offsetMs(after, zone)];
    const moved = offsets[0] === offsets[1] ? [] : [movedAt(before, after, zone)];
    return [...offsets.map((offset) => (opens - offset) as Instant), ...moved];
  }).flat();
}

/** When the clocks are moved; they are once in two days at most. */
function movedAt(before: Instant, after: Instant, zone: string): Instant {
  const first = offsetMs(before, zone);
  let [low, high] = [before as number, after as number];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetMs(middle, zone) === first) low = middle;
    else high = middle;
  }
  return high as Instant;
}

function weekday(wall: number): number {
  // The epoch was a Thursday.
  return ((Math.floor(wall / DAY_MS) + 3) % 7) + 1;
}

function offsetMs(at: number, zone: string): number {
  return wallMs(at as Instant, zone) - at;
}

/** What the wall says, as if it were UTC. */
function wallMs(at: Instant, zone: string): number {
  const parts = new Map(
    formatOf(zone)
      .formatToParts(at)
      .map(({ type, value }) => [type, Number(value)]),
  );
  const part = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? 0;
  const seconds = [part('hour'), part('minute'), part('second')] as const;
  const whole = Date.UTC(part('year'), part('month') - 1, part('day'), ...seconds);
  return whole + (((at % 1000) + 1000) % 1000);
}

const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const known = formats.get(timeZone);
  if (known !== undefined) return known;
  const numeric = 'numeric';
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: numeric,
    month: numeric,
    day: numeric,
    hour: numeric,
    minute: numeric,
    second: numeric,
  });
  formats.set(timeZone, format);
  return format;
}
