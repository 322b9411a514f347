/** Colour for people: on a terminal that has it, and nowhere else. */
import { styleText } from 'node:util';

/** A way to set text off. */
type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** Sets a text off, or returns it as it is. */
export type Paint = (style: Style, text: string) => string;

/** Paints for a stream: plain where it is no terminal, or `NO_COLOR` is set. */
export function paintFor(stream: NodeJS.WriteStream): Paint {
  const colourful = stream.isTTY && stream.hasColors();
  return (style, text) => (colourful ? styleText(style, text) : text);
}
