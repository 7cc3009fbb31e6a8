/** Loaded into every measured process with `--import`: tells the parent what the process has used, and ends with it. */

export interface UsageReport {
  /** user and system, all threads */
  cpuUs: number
  peakRssKiB: number
  rssKiB: number
}

process.on('message', () => {
  const { user, system } = process.cpuUsage()
  const report: UsageReport = {
    cpuUs: user + system,
    peakRssKiB: process.resourceUsage().maxRSS,
    rssKiB: process.memoryUsage.rss() / 1024,
  }
  process.send?.(report)
})
process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'))
// The channel alone must not keep a process alive that is done.
process.channel?.unref()
