/** The spool in which the API keeps views until Kafka has them. */
import { openSpool, SpoolUnusableError, type Spool } from '../../platform/disk/spool';
import type { Logger } from '../../platform/observability/logger';
import { measureViewSpool, viewSpoolFaults } from '../../platform/observability/telemetry';
import { ConfigurationError, type Config } from '../../platform/process/config';

/**
 * Opens the spool that the configuration names. A disk that fails or hangs stops nothing: views are then
 * not kept, and counted.
 *
 * @throws ConfigurationError when the path is no directory, or may not be written
 */
export async function openViewSpool(config: Config, logger: Logger): Promise<Spool> {
  try {
    const spool = await openSpool(config.VIEW_SPOOL_DIR, logger, {
      maxBytes: config.VIEW_SPOOL_MAX_BYTES,
      onFault: (fault) => viewSpoolFaults.inc({ fault }),
    });
    measureViewSpool(() => spool.bytes);
    return spool;
  } catch (error) {
    if (!(error instanceof SpoolUnusableError)) throw error;
    throw new ConfigurationError(`Wrong configuration:\n  VIEW_SPOOL_DIR: ${error.message}`, {
      cause: error,
    });
  }
}
