/** Reads certificate and key files named by variables. */
import { readFileSync } from 'node:fs';
import { ConfigurationError } from './config';

/**
 * The content of the file, PEM.
 *
 * @param variable that names the file, for the error message
 * @throws ConfigurationError when it cannot be read
 */
export function readCertificateFile(variable: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code = 'unreadable' } = error as NodeJS.ErrnoException;
    throw new ConfigurationError(
      `Wrong configuration:\n  ${variable}: cannot read the file ${file} (${code})`,
      { cause: error },
    );
  }
}
