/** Names of the browser that playwright's types mention. The library `dom` would declare `fetch` anew, everywhere. */
interface Node {
  readonly nodeType: number;
}
interface HTMLElement extends Node {
  readonly tagName: string;
}
interface SVGElement extends Node {
  readonly tagName: string;
}
type HTMLElementTagNameMap = Record<string, HTMLElement>;

/** Those that the types of aws4fetch mention. */
type HeadersInit = Headers | Readonly<Record<string, string>>;
type BodyInit = string | Uint8Array;
