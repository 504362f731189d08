-- One association a series, once nothing more has come for StableAge seconds. Reports (SR) are not sent back.
function OnStableSeries(seriesId, tags, metadata)
   if tags['Modality'] == 'CR' or tags['Modality'] == 'DX' then
      RestApiPost('/modalities/pneumo/store',
                  DumpJson({ Resources = { seriesId }, Synchronous = false }, true))
   end
end
