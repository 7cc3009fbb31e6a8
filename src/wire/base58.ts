const letters = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const digits = new Map(Array.from(letters, (letter, digit) => [letter, digit]))

/** The number that these bytes write, most significant first, in base 58; a 1 in front for each zero byte in front. */
export function encodeBase58(bytes: Uint8Array): string {
  const places: number[] = []
  for (const byte of bytes) {
    let carry = byte
    for (let at = 0; at < places.length; at += 1) {
      carry += places[at]! * 256
      places[at] = carry % 58
      carry = Math.floor(carry / 58)
    }
    for (; carry > 0; carry = Math.floor(carry / 58)) places.push(carry % 58)
  }
  const zeros = bytes.findIndex((byte) => byte !== 0)
  const text = places.toReversed().map((digit) => letters[digit])
  return '1'.repeat(zeros < 0 ? bytes.length : zeros) + text.join('')
}

/** That number in `length` bytes, most significant first; only for text in base 58 of a number that fits. */
export function decodeBase58(text: string, length: number): Uint8Array {
  const bytes = Buffer.alloc(length)
  for (const letter of text) {
    let carry = digits.get(letter) ?? 0
    for (let at = length - 1; at >= 0; at -= 1) {
      carry += bytes[at]! * 58
      bytes[at] = carry & 0xff
      carry >>= 8
    }
  }
  return bytes
}
