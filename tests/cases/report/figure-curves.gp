# Over training
# Made by quasar; `gnuplot curves.gp` draws curves.tsv into curves.svg.
set encoding utf8
set terminal svg size 480,385 dynamic font 'sans-serif,14' enhanced
set output 'curves.svg'
set border linecolor rgb 'black'
set grid linecolor rgb '#888888' linewidth 0.5 dashtype 3
set tics nomirror
set key noenhanced samplen 1.5 spacing 1.1
set xlabel 'tokens trained on (millions)' noenhanced offset 0,0.4
set ylabel 'loss' noenhanced
set xrange [-2.048e-05:0.00053248]
set logscale y
set ytics (0.2, 0.5, 1)
set format y '%g'
set yrange [0.18753:1.06649]
set key outside below center horizontal maxcols 2 Left reverse height 0.6
plot 'curves.tsv' index 0 using 1:2 with lines lw 1.2 lc rgb '#009e73' title 'topk k=8' noenhanced, \
     'curves.tsv' index 1 using 1:2 with lines lw 1.2 lc rgb '#009e73' notitle
