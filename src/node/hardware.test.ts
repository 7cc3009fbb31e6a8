import { expect, test } from 'vitest'
import { signRecord } from '../wire/record.ts'
import { nodeKey, sellerDraft } from '../../test/fixtures/records.ts'
import { detectHardware, parseGpus } from './hardware.ts'

test('GPUs are counted and their memory summed', () => {
  expect(parseGpus('NVIDIA H100 80GB HBM3, 81559\nNVIDIA H100 80GB HBM3, 81559\n')).toEqual({
    gpu: 'NVIDIA H100 80GB HBM3',
    gpus: 2,
    vramGiB: 159,
  })
})

test('what a driver prints instead of GPUs is none', () => {
  expect(parseGpus('NVIDIA-SMI has failed\n')).toEqual({})
})

test('what is found on this machine fits into a record', async () => {
  const hardware = await detectHardware()
  expect(hardware.ramGiB).toBeGreaterThan(0)
  expect(signRecord(nodeKey(1), sellerDraft(Date.now(), { hardware })).body.hardware).toEqual(hardware)
})
