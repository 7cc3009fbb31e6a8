/** Loaded into every measured process with `--import`: tells the parent what the process has used, and ends with it. */

export interface UsageReport {
  /** user and system, all threads */
  cpuUs: number
  peakRssKiB: number
}

process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.({ cpuUs: user + system, peakRssKiB: process.resourceUsage().maxRSS } satisfies UsageReport)
})
process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'))
// The channel alone must not keep a process alive that is done.
process.channel?.unref()
