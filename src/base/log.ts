import { pino } from 'pino'

/** Where parts write what happened: facts first, then a sentence. Never secrets, prompts or completions. */
export type Log = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error' | 'child'>

/** Levels that can be asked for; `silent` writes nothing. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** Opens the log on stderr, so that stdout stays the command's answer: JSON lines, or one short line for people. */
export function openLog({ level, json }: { level: LogLevel; json: boolean }): Log {
  // Synchronous: the last lines before a crash are the ones that are needed.
  const stderr = pino.destination({ dest: 2, sync: true })
  const options: pino.LoggerOptions = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime }
  return json ? pino(options, stderr) : pino(options, { write: (line) => stderr.write(forPeople(line)) })
}

/** A log that writes nothing. */
export const silentLog: Log = pino({ level: 'silent' })

const ownFields = new Set(['level', 'time', 'msg', 'err'])

/** `12:34:56 warn  engine is slow  model=x waitedMs=900` out of one JSON line. */
export function forPeople(line: string): string {
  const entry = JSON.parse(line) as { level: number; time: string; msg?: string; err?: { message?: string } }
  const facts = Object.entries(entry)
    .filter(([name]) => !ownFields.has(name))
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
  const words = [entry.msg, entry.err?.message && `(${entry.err.message})`, ...facts].filter(Boolean)
  const label = (pino.levels.labels[entry.level] ?? '').padEnd(5)
  return `${entry.time.slice(11, 19)} ${label} ${words.join(' ')}\n`
}
