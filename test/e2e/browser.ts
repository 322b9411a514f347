/**
 * A real Chromium for the tests. The browser comes with a package, so that nothing but the npm
 * registry is needed; `CHROMIUM_PATH` names another one.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { AxeResults } from 'axe-core';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';

/** How a page is seen. */
export interface Look {
  readonly width: number;
  readonly height: number;
  readonly colorScheme: 'light' | 'dark';
}

/** A page of the dashboard, and everything that has gone wrong on it. */
export interface OpenPage {
  readonly page: Page;
  /** Errors of scripts, errors and warnings in the console, and what the page's policy has refused. */
  readonly troubles: string[];
  close(): Promise<void>;
}

/** A desk's and a phone's screen, in both colour schemes. */
export const looks = {
  desk: { width: 1280, height: 900, colorScheme: 'light' },
  deskAtNight: { width: 1280, height: 900, colorScheme: 'dark' },
  phone: { width: 375, height: 812, colorScheme: 'light' },
  phoneAtNight: { width: 375, height: 812, colorScheme: 'dark' },
} as const satisfies Record<string, Look>;

/** Starts the browser. */
export async function startBrowser(): Promise<Browser> {
  const executablePath = process.env['CHROMIUM_PATH'] ?? (await packagedChromium());
  try {
    // Tests may run as root, where Chromium's sandbox cannot; they open the project's own page alone.
    return await chromium.launch({
      executablePath,
      args: ['--no-sandbox', '--font-render-hinting=none'],
    });
  } catch (error) {
    throw new Error(
      `Chromium did not start from ${executablePath}. It needs the libraries NSS, NSPR and expat ` +
        '(Debian: libnss3); or set CHROMIUM_PATH to a Chromium that is installed.',
      { cause: error },
    );
  }
}

/** Opens a page. @param operatorKey signs in with it; nobody without */
export async function openPage(
  browser: Browser,
  url: string,
  look: Look,
  operatorKey?: string,
): Promise<OpenPage> {
  const context = await newContext(browser, look);
  if (operatorKey !== undefined) {
    // Of all tabs that the context opens.
    const script = `sessionStorage.setItem('operator-key', ${JSON.stringify(operatorKey)})`;
    await context.addInitScript({ content: script });
  }
  const page = await context.newPage();
  const troubles: string[] = [];
  page.on('pageerror', (error) => troubles.push(`error: ${error.message}`));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) troubles.push(message.text());
  });
  await page.goto(url);
  return { page, troubles, close: () => context.close() };
}

/** What axe finds wrong with the page as it is now, a line each. */
export async function findAccessibilityProblems(page: Page): Promise<string[]> {
  await page.evaluate(await readFile(require.resolve('axe-core/axe.min.js'), 'utf8'));
  const { violations } = await page.evaluate<AxeResults>('axe.run()');
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary ?? ''}`),
  );
}

/** Keeps a picture of the page for the docs, where `SCREENSHOTS` names the folder for them. */
export async function keepPicture(page: Page, name: string): Promise<void> {
  const folder = process.env['SCREENSHOTS'];
  if (folder === undefined) return;
  await mkdir(folder, { recursive: true });
  await page.screenshot({ path: path.join(folder, `${name}.png`) });
}

async function packagedChromium(): Promise<string> {
  const { default: packaged } = await import('@sparticuz/chromium');
  const file = await packaged.executablePath();
  if (!existsSync(file)) throw new Error(`The package did not unpack Chromium to ${file}.`);
  return file;
}

// Without a locale the packaged browser takes one from the machine that is no language at all.
function newContext(browser: Browser, look: Look): Promise<BrowserContext> {
  const { width, height, colorScheme } = look;
  return browser.newContext({
    viewport: { width, height },
    colorScheme,
    reducedMotion: 'reduce',
    locale: 'en-GB',
  });
}
