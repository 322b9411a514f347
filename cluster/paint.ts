/** Colours, on terminals that have them. */
import { styleText } from 'node:util';

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** Styles a text, or returns it unchanged. */
export type Paint = (style: Style, text: string) => string;

/** The styles of a stream: none where it is no terminal, or `NO_COLOR` is set. */
export function paintFor(stream: NodeJS.WriteStream): Paint {
  const colourful = stream.isTTY && stream.hasColors();
  return (style, text) => (colourful ? styleText(style, text) : text);
}
