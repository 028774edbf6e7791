/** Maintenance windows as people write them: `Mon..Fri 02:00-04:00 Europe/Berlin`. */

/** A span of every one of some days, by the clock on a wall in one place. */
export interface WrittenWindow {
  /** 1 is Monday, 7 Sunday. */
  readonly days: readonly number[];
  /** Minutes after midnight; one that ends before it begins ends on the next day. */
  readonly fromMinute: number;
  readonly toMinute: number;
  /** IANA time zone. */
  readonly zone: string;
}

const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
const DAY = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)';
const SPAN = `${DAY}(?:\\.\\.${DAY})?`;
const TIME = '(\\d\\d):(\\d\\d)';
const WINDOW = new RegExp(`^(?:(${SPAN}(?:,${SPAN})*) )?${TIME}-${TIME} ([A-Za-z][\\w+/-]*)$`, 'u');

/** @returns `undefined` for anything else, such as a time zone that is not known here */
export function parseWindow(text: string): WrittenWindow | undefined {
  const [, days, ...rest] = WINDOW.exec(text) ?? [];
  const [fromHour, fromMin, toHour, toMin] = rest.slice(0, 4).map(Number);
  const zone = rest[4];
  if (zone === undefined || !isZone(zone)) return undefined;
  const fromMinute = minuteOf(fromHour, fromMin);
  const toMinute = minuteOf(toHour, toMin);
  if (fromMinute === undefined || toMinute === undefined) return undefined;
  // A window that ends when it begins could be empty or a day long: 00:00-24:00 says which.
  if (fromMinute === MINUTES_OF_DAY || toMinute === fromMinute) return undefined;
  return { days: daysOf(days), fromMinute, toMinute, zone };
}

export function formatWindow({ days, fromMinute, toMinute, zone }: WrittenWindow): string {
  const names = days.length === DAYS.length ? '' : `${days.map((day) => DAYS[day - 1]).join(',')} `;
  return `${names}${clock(fromMinute)}-${clock(toMinute)} ${zone}`;
}

const MINUTES_OF_DAY = 24 * 60;

function minuteOf(hour = NaN, minute = NaN): number | undefined {
  const minutes = 60 * hour + minute;
  return minute < 60 && minutes <= MINUTES_OF_DAY ? minutes : undefined;
}

function clock(minutes: number): string {
  const two = (number: number): string => String(number).padStart(2, '0');
  return `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}

/** `Sat..Mon` is three days. */
function daysOf(text: string | undefined): readonly number[] {
  const all = DAYS.map((_, index) => index + 1);
  if (text === undefined) return all;
  const named = text.split(',').flatMap((span) => {
    const [first = '', last = first] = span.split('..');
    const [from, to] = [DAYS.indexOf(first), DAYS.indexOf(last)];
    const count = ((to - from + DAYS.length) % DAYS.length) + 1;
    return Array.from({ length: count }, (_, index) => ((from + index) % DAYS.length) + 1);
  });
  return all.filter((day) => named.includes(day));
}

function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}
